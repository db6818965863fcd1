"""What one would write today: streams the day with COPY, counts it in dictionaries, and sends its documents in parallel
bulk requests, with ids that depend only on recordset and day. Then it reads the totals of each recordset, adds to them
and writes them back. It keeps no ledger, so running it twice would count the day twice.

modern.py SOURCE_URL ELASTICSEARCH_URL INDEX DAY writes to INDEX and INDEX-totals, which must exist.
"""

from functools import cache

import orjson
import psycopg
from elasticsearch import Elasticsearch, OrjsonSerializer
from elasticsearch.helpers import parallel_bulk

from counting import RECORD_TYPES, STAT_TYPES, arguments, count_event, documents, new_cells

THREADS = 4
BODY_BYTES = 6 << 20


def main():
    given = arguments()
    cells = count(given)
    client = Elasticsearch(given.elasticsearch_url, serializers={"application/json": OrjsonSerializer()}, request_timeout=120)
    send(client, daily_actions(cells, given))
    send(client, totals_actions(client, cells, given))
    client.indices.refresh(index=f"{given.index},{given.index}-totals")


def count(given):
    cells = new_cells()
    loads = orjson.loads

    @cache
    def term(geocode):
        return "null" if geocode is None else orjson.dumps(loads(geocode), option=orjson.OPT_SORT_KEYS).decode()

    with psycopg.connect(given.source_url) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY ({given.events('s.payload::text', 's.ip_geocode::text')}) TO STDOUT") as copy:
            for stat_type, record_type, payload, geocode, query_hash in copy.rows():
                count_event(cells, stat_type, record_type, loads(payload), term(geocode), query_hash)
    return cells


def daily_actions(cells, given):
    for document in documents(cells, given, cache(orjson.loads)):
        yield {"_index": given.index, "_id": f"{given.day}:{document['recordset_id']}", "_source": document}


def totals_actions(client, cells, given):
    index, day = f"{given.index}-totals", given.day.isoformat()
    recordsets = list({recordset for recordset, _, _ in cells})
    if not recordsets:
        return
    for stored in client.mget(index=index, ids=recordsets)["docs"]:
        recordset = stored["_id"]
        document = stored["_source"] if stored["found"] else new_totals(recordset, day)
        document["first_day"], document["last_day"] = min(document["first_day"], day), max(document["last_day"], day)
        for record_type in RECORD_TYPES:
            for stat_type in STAT_TYPES:
                if cell := cells.get((recordset, record_type, stat_type)):
                    document[record_type][stat_type]["count"] += cell.count
                    document[record_type][stat_type]["total"] += cell.total
        yield {"_index": index, "_id": recordset, "_source": document}


def new_totals(recordset, day):
    zeros = {record_type: {stat_type: {"count": 0, "total": 0} for stat_type in STAT_TYPES} for record_type in RECORD_TYPES}
    return {"recordset_id": recordset, "first_day": day, "last_day": day, **zeros}


def send(client, actions):
    # Failures are raised; nothing needs to be kept of the successes.
    for _ in parallel_bulk(client, actions, thread_count=THREADS, max_chunk_bytes=BODY_BYTES):
        pass


if __name__ == "__main__":
    main()
