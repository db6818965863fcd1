"""The old way, rewritten from the counting rules: reads rows through a server-side cursor, counts them in dictionaries,
and sends one request per recordset, each document with a random id.

old.py SOURCE_URL ELASTICSEARCH_URL INDEX DAY writes to INDEX, which must exist.
"""

import json
import uuid

import psycopg
from elasticsearch import Elasticsearch

from counting import arguments, count_event, documents, new_cells


def main():
    given = arguments()
    cells = new_cells()
    with psycopg.connect(given.source_url) as connection, connection.cursor(name="events") as cursor:
        cursor.execute(given.events("s.payload", "s.ip_geocode"))
        for stat_type, record_type, payload, geocode, query_hash in cursor:
            term = json.dumps(geocode, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            count_event(cells, stat_type, record_type, payload, term, query_hash)
    client = Elasticsearch(given.elasticsearch_url, request_timeout=120)
    for document in documents(cells, given, json.loads):
        client.index(index=given.index, id=str(uuid.uuid4()), document=document)
    client.indices.refresh(index=given.index)


if __name__ == "__main__":
    main()
