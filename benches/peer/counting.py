"""Shared by both peers: their settings, the query of the source, and the counting rules.

The rules are those of daybook (version 1), as far as valid events need them: nothing is rejected here.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta

RECORD_TYPES = ("records", "mediarecords")
STAT_TYPES = ("download", "mapping", "search", "seen", "view")
OF_SINGLE_RECORDS = ("seen", "view")

EVENTS = """
SELECT s.type, s.record_type, {payload}, {geocode}, q.query_hash
FROM stats s LEFT JOIN queries q ON q.id = s.query_id
WHERE s.date >= '{day}T00:00:00Z' AND s.date < '{next_day}T00:00:00Z'
"""


@dataclass
class Arguments:
    source_url: str
    elasticsearch_url: str
    index: str
    day: date

    @property
    def harvest_date(self):
        return self.day + timedelta(days=1)

    def events(self, payload, geocode):
        """The query for the day's events, with these expressions for the two columns of JSON."""
        return EVENTS.format(payload=payload, geocode=geocode, day=self.day, next_day=self.harvest_date)


def arguments():
    if len(sys.argv) != 5:
        sys.exit(f"usage: {sys.argv[0]} SOURCE_URL ELASTICSEARCH_URL INDEX DAY")
    source_url, elasticsearch_url, index, day = sys.argv[1:]
    return Arguments(source_url, elasticsearch_url, index, date.fromisoformat(day))


@dataclass(slots=True)
class Cell:
    count: int = 0
    total: int = 0
    items: dict = field(default_factory=lambda: defaultdict(int))
    queries: dict = field(default_factory=lambda: defaultdict(int))
    geocodes: dict = field(default_factory=lambda: defaultdict(int))


def count_event(cells, stat_type, record_type, payload, geocode, query_hash):
    """Adds an event to the cells; `geocode` is the term, canonical JSON."""
    if record_type not in RECORD_TYPES:
        return
    if stat_type in OF_SINGLE_RECORDS:
        with_query = stat_type == "seen"
        for record, recordset in payload.items():
            cell = cells[recordset, record_type, stat_type]
            cell.count += 1
            cell.total += 1
            cell.items[record] += 1
            cell.geocodes[geocode] += 1
            if with_query:
                cell.queries[query_hash] += 1
    elif stat_type in STAT_TYPES:
        for recordset, records in payload.items():
            cell = cells[recordset, record_type, stat_type]
            cell.count += 1
            if records:
                cell.total += records
                cell.geocodes[geocode] += records
                cell.queries[query_hash] += records


def documents(cells, arguments, parse_geocode):
    """The daily documents, one per recordset."""
    empty = Cell()
    for recordset in {recordset for recordset, _, _ in cells}:
        document = {
            "recordset_id": recordset,
            "harvest_date": arguments.harvest_date.isoformat(),
            "day": arguments.day.isoformat(),
        }
        for record_type in RECORD_TYPES:
            document[record_type] = {}
            for stat_type in STAT_TYPES:
                cell = cells.get((recordset, record_type, stat_type), empty)
                document[record_type][stat_type] = {
                    "count": cell.count,
                    "total": cell.total,
                    "items": [{"term": term, "count": n} for term, n in cell.items.items()],
                    "queries": [{"term": term, "count": n} for term, n in cell.queries.items()],
                    "geocodes": [{"geo": parse_geocode(term), "count": n} for term, n in cell.geocodes.items()],
                }
        yield document


def new_cells():
    return defaultdict(Cell)
