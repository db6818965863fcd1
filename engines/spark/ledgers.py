"""The events that the tests count, and the ledgers that they post to.

The environment has DAYBOOK (the program), DAYBOOK_LEDGER_URL (a database on the server), and REAL_DAY and WORKLOAD (databases
with events of the days of those names).
"""

import os
import re
import subprocess

import psycopg
import pyarrow
import pyarrow.parquet

import count_day
from cluster import SECONDS

DAYBOOK = os.environ["DAYBOOK"]
LEDGER = os.environ["DAYBOOK_LEDGER_URL"]
REAL_DAY, WORKLOAD, ODD = "2020-02-16", "2010-01-01", "2020-02-16"

ENTRY = """
    SELECT concat_ws(' ', kind, day, source_events, source_counted, source_ignored, source_rejected, delta_rows,
                     encode(content_hash, 'hex')),
           (SELECT array_agg(concat_ws(' ', source_id, reason, message) ORDER BY source_id)
            FROM daybook.rejected_event r WHERE r.entry_id = e.entry_id)
    FROM daybook.entry e ORDER BY entry_id DESC LIMIT 1"""

EVENTS = """
    SELECT s.id, s.date, s.type, s.record_type, s.payload::text, s.ip_geocode::text, q.query_hash
    FROM stats s LEFT JOIN queries q ON q.id = s.query_id ORDER BY s.id"""


def database(name):
    return LEDGER.rsplit("/", 1)[0] + "/" + name


def fresh_database(name):
    with psycopg.connect(LEDGER, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return database(name)


def daybook(url, *arguments):
    environment = {"PATH": os.environ["PATH"], "DAYBOOK_LEDGER_URL": url}
    ended = subprocess.run(
        [DAYBOOK, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def entry(url):
    with psycopg.connect(url) as connection:
        return connection.execute(ENTRY).fetchone()


class Source:
    """A database with the events of a day, and the same events as Parquet."""

    def __init__(self, name, day, folder):
        self.day, self.url = day, database(name)
        self.parquet = folder / "parquet"
        daybook(self.url, "migrate")
        daybook(self.url, "apply", "--day", day, "--no-project")
        self.entry = entry(self.url)
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(EVENTS).fetchall()
        self.parquet.mkdir()
        schema = pyarrow.schema(
            [("id", pyarrow.int64()), ("date", pyarrow.timestamp("us", "UTC"))]
            + [(column, pyarrow.string()) for column in count_day.COLUMNS[2:]]
        )
        size = len(rows) // 4 + 1
        for first in range(0, len(rows), size):
            columns = zip(*rows[first : first + size])
            table = pyarrow.Table.from_arrays(
                [pyarrow.array(values, field.type) for values, field in zip(columns, schema)], schema=schema
            )
            pyarrow.parquet.write_table(table, self.parquet / f"{first}.parquet")

    def jdbc(self):
        url = re.fullmatch(r"postgres://[^@]*@(.*)", self.url)
        return "jdbc:postgresql://" + url[1]

    def options(self, kind):
        if kind == "parquet":
            return ["--day", self.day, "--parquet", str(self.parquet)]
        return ["--day", self.day, "--jdbc", self.jdbc()]


def post(output, day, *options):
    """Posts what was counted to a ledger without source. Returns the entry."""
    assert (output / "_SUCCESS").exists()
    url = fresh_database("daybook_engines_posted")
    daybook(url, "migrate")
    ranges = sorted(str(path) for path in output.glob("range-*"))
    daybook(url, "apply", "--day", day, "--no-project", *options, "--deltas", *ranges)
    daybook(url, "verify", "--ledger")
    return entry(url)
