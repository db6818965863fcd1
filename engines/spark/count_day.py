"""Counts the events of a day with Spark, for `daybook apply --deltas`. docs/scaling.md describes its use.

Spark reads, schedules, shuffles and retries; `daybook fold`, which is sent to the executors, has the counting rules:

1. Each task counts the events of its partition to a delta set for each range of recordsets (`fold --ranges`), and gives
   the files to Spark's shuffle, in pieces.
2. Each task of the second stage puts the files of one range together and merges them (`fold --merge`), which checks
   their digests, and writes the result below the output under a name that no other attempt uses.
3. The driver moves the results of the attempts that Spark has accepted into place: OUTPUT/range-0 and so on, each with
   its manifest last, and after all of them _SUCCESS.

So an attempt that fails, is repeated or runs twice adds nothing. Events must not change while the job runs: Parquet files
are not written to again, and all connections to Postgres read one snapshot. If they changed all the same, the
fingerprints of the ranges would differ, and `apply` would refuse them.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import zoneinfo

import pyarrow
import pyarrow.fs
import pyarrow.parquet
from pyspark import SparkFiles, TaskContext
from pyspark.sql import SparkSession, functions, types

COLUMNS = ("id", "date", "type", "record_type", "payload", "ip_geocode", "query_hash")
TEXT = (types.StringType, types.BinaryType)
TYPES = {
    "id": (types.LongType, types.IntegerType),
    "date": (types.TimestampType, types.TimestampNTZType, types.StringType),
}

# `logged` is for conditions, which the index on the date answers.
EVENTS = """(
    SELECT s.date AS logged, s.id::bigint AS id, to_json(s.date) #>> '{}' AS date, s.type::text AS type,
           s.record_type::text AS record_type, s.payload::text AS payload, s.ip_geocode::text AS ip_geocode,
           q.query_hash::text AS query_hash
    FROM stats s LEFT JOIN queries q ON q.id = s.query_id
) AS events"""
DRIVER = "org.postgresql.Driver"

# Rows in memory at a time, in the JVM and in Python. An event can have megabytes.
ROWS_AT_A_TIME = 1000

# The files of a delta set. The manifest makes it one, so it comes last.
FILES = ("deltas.ndjson.zst", "rejected.ndjson.zst", "manifest.json")
MOST_RANGES = 1000

PIECE_BYTES = 1 << 20
PIECES = pyarrow.schema(
    [
        ("range", pyarrow.int32()),
        ("part", pyarrow.int64()),
        ("file", pyarrow.string()),
        ("offset", pyarrow.int64()),
        ("bytes", pyarrow.binary()),
    ]
)
PIECES_IN_SPARK = "range int, part bigint, file string, offset bigint, bytes binary"

# Events so close to the day are read as well: `fold` decides which are of the day, also where time zones have changed.
MARGIN = datetime.timedelta(hours=1)


class Refused(Exception):
    """What the job was asked to do cannot be done. The text is for whoever started it."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What the executors have to know."""

    day: str
    time_zone: str
    ranges: int
    memory: str
    # The name under which Spark has sent the program.
    program: str
    output: str
    id: str


# What runs on the executors.


def counter(job):
    """A function that counts a partition, and returns the delta sets in pieces."""

    def count(batches):
        part = TaskContext.get().partitionId()
        with temporary_folder() as folder:
            events = write_events(batches, f"{folder}/events.parquet")
            fold_events(job, events, f"{folder}/counted")
            for number in range(job.ranges):
                for file in FILES:
                    for offset, data in pieces_of(f"{folder}/counted/range-{number}/{file}"):
                        piece = [[number], [part], [file], [offset], [data]]
                        yield pyarrow.RecordBatch.from_arrays(
                            [pyarrow.array(value, field.type) for value, field in zip(piece, PIECES)],
                            schema=PIECES,
                        )

    return count


def merger(job):
    """A function that merges the delta sets of a range, and returns where the result is."""

    def merge(number, pieces):
        with temporary_folder() as folder:
            parts = put_together(pieces, f"{folder}/parts")
            if not parts:
                # A day without events is counted, too.
                fold_events(job, None, f"{folder}/nothing")
                parts = [f"{folder}/nothing/range-{number}"]
            merged = f"{folder}/merged"
            run_daybook(job, ["fold", "--merge", "--day", job.day, "--output", merged, *parts])
            name = f"range-{number}-{uuid.uuid4()}"
            upload(merged, job, name)
            with open(f"{merged}/manifest.json", encoding="utf-8") as file:
                yield number, name, json.load(file)

    return merge


@contextlib.contextmanager
def temporary_folder():
    # Spark deletes what a killed task leaves there.
    local = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0]
    with tempfile.TemporaryDirectory(prefix="daybook-", dir=local or None) as folder:
        yield folder


def write_events(batches, path):
    """Writes events as Parquet, which keeps every byte. Returns the path; None if there are none."""
    writer = None
    for batch in batches:
        writer = writer or pyarrow.parquet.ParquetWriter(
            path, batch.schema, compression="snappy", use_dictionary=["type", "record_type"]
        )
        writer.write_batch(batch)
    if writer is None:
        return None
    writer.close()
    return path


def fold_events(job, events, output):
    arguments = ["fold", "--day", job.day, "--time-zone", job.time_zone]
    run_daybook(job, [*arguments, "--ranges", str(job.ranges), "--output", output, events or "-"])


def run_daybook(job, arguments):
    environment = dict(os.environ)
    if job.memory:
        environment["DAYBOOK_MEMORY"] = job.memory
    ended = subprocess.run(
        [SparkFiles.get(job.program), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"daybook fold ended with {ended.returncode}: {said}")


def pieces_of(path):
    with open(path, "rb") as file:
        offset = 0
        while data := file.read(PIECE_BYTES):
            yield offset, data
            offset += len(data)


def put_together(pieces, folder):
    """Writes the pieces to files, in whatever order they come. Returns the delta sets."""
    parts = set()
    for _, (part, name, offset, data) in pieces:
        path = f"{folder}/{part}"
        if path not in parts:
            os.makedirs(path)
            parts.add(path)
        descriptor = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CREAT)
        with open(descriptor, "wb") as file:
            file.seek(offset)
            file.write(data)
    return sorted(parts)


def upload(merged, job, name):
    files, path = filesystem(job.output)
    target = f"{path}/_temporary/{job.id}/{name}"
    files.create_dir(target)
    for file in FILES:
        with open(f"{merged}/{file}", "rb") as source:
            # By default, the file's name decides whether it is compressed once more.
            with files.open_output_stream(f"{target}/{file}", compression=None) as sink:
                shutil.copyfileobj(source, sink, PIECE_BYTES)


def filesystem(uri):
    """The file system of a URI or of a path, which all executors and the driver must reach, and the path in it."""
    if "://" not in uri:
        return pyarrow.fs.LocalFileSystem(), uri
    return pyarrow.fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))


# What runs on the driver.


def count_day(spark, options):
    """Runs the job. Returns the manifests."""
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS_AT_A_TIME)
    output = options.output if "://" in options.output else os.path.abspath(options.output)
    job = Job(
        day=options.day.isoformat(),
        time_zone=options.time_zone,
        ranges=options.ranges or min(spark.sparkContext.defaultParallelism, MOST_RANGES),
        memory=options.memory,
        program=send_program(spark, options.daybook),
        output=output,
        id=str(uuid.uuid4()),
    )
    files, path = filesystem(output)
    prepare(files, path)
    with read_events(spark, options) as events:
        pieces = events.select(*COLUMNS).mapInArrow(counter(job), PIECES_IN_SPARK).rdd
        by_range = pieces.map(lambda piece: (piece[0], tuple(piece[1:])))
        merging = by_range.partitionBy(job.ranges, int).mapPartitionsWithIndex(merger(job))
        merged = sorted(merging.collect(), key=lambda result: result[0])
    commit(files, path, job, merged)
    return [manifest for _, _, manifest in merged]


def send_program(spark, program):
    path = shutil.which(program)
    if path is None:
        raise Refused(f"the program {program} is not there: give its path with --daybook")
    spark.sparkContext.addFile(path)
    return os.path.basename(path)


def prepare(files, path):
    """Deletes what a job that did not get to its end has left. Refuses anything else."""
    found = files.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
    for entry in found:
        if entry.base_name == "_SUCCESS":
            raise Refused(f"{path} is complete: delete it to count again, or give another --output")
        if entry.base_name != "_temporary" and not entry.base_name.startswith("range-"):
            raise Refused(f"{path} has {entry.base_name}: give an --output that is empty or new")
    for entry in found:
        files.delete_dir(entry.path)


def commit(files, path, job, merged):
    if [number for number, _, _ in merged] != list(range(job.ranges)):
        raise RuntimeError(f"{len(merged)} ranges were merged, not {job.ranges}")
    for number, name, _ in merged:
        files.create_dir(f"{path}/range-{number}")
        for file in FILES:
            source = f"{path}/_temporary/{job.id}/{name}/{file}"
            if files.get_file_info(source).type == pyarrow.fs.FileType.NotFound:
                raise RuntimeError(f"the driver does not see {source}: --output must be shared")
            files.move(source, f"{path}/range-{number}/{file}")
    with contextlib.suppress(OSError):
        # An attempt that was not needed may still be writing there.
        files.delete_dir(f"{path}/_temporary")
    with files.open_output_stream(f"{path}/_SUCCESS"):
        pass


def read_events(spark, options):
    if options.parquet:
        return contextlib.nullcontext(events_in_parquet(spark, options))
    return events_in_postgres(spark, options)


def bounds(options, is_zoned, slices):
    """The bounds of slices of the day, as text. A column without zone has times of the zone of the day."""
    days = (options.day, options.day + datetime.timedelta(days=1))
    zone = zoneinfo.ZoneInfo(options.time_zone) if is_zoned else None
    start, end = (datetime.datetime.combine(day, datetime.time(), zone) for day in days)
    if is_zoned:
        start, end = (at.astimezone(datetime.timezone.utc) for at in (start, end))
    step = (end - start) / slices
    inner = [start + number * step for number in range(1, slices)]
    return [at.isoformat() for at in (start - MARGIN, *inner, end + MARGIN)]


def events_in_parquet(spark, options):
    events = spark.read.parquet(*options.parquet)
    found = {field.name: field.dataType for field in events.schema}
    for column in COLUMNS:
        if column not in found:
            raise Refused(f"the Parquet files have no column {column}")
        if not isinstance(found[column], TYPES.get(column, TEXT)):
            raise Refused(
                f"the Parquet files have a column {column} of type {found[column].simpleString()}: "
                "id must be an integer, date a timestamp or text, the others text (payload and ip_geocode as JSON)"
            )
    if isinstance(found["date"], types.StringType):
        return events
    # Spares reading the row groups of other days.
    is_zoned = isinstance(found["date"], types.TimestampType)
    start, end = (functions.lit(at).cast(found["date"]) for at in bounds(options, is_zoned, 1))
    date = functions.col("date")
    return events.where((date >= start) & (date < end))


@contextlib.contextmanager
def events_in_postgres(spark, options):
    """Events from the source's tables, in one snapshot, which is held until the job has ended."""
    login = {"user": os.environ.get("PGUSER", ""), "password": os.environ.get("PGPASSWORD", "")}
    login = {name: value for name, value in login.items() if value}
    jvm = spark._jvm
    try:
        jvm.org.apache.spark.sql.execution.datasources.jdbc.DriverRegistry.register(DRIVER)
    except Exception as error:
        raise Refused("Spark has no JDBC driver for Postgres: give it with --packages or --jars") from error
    properties = jvm.java.util.Properties()
    for name, value in login.items():
        properties.setProperty(name, value)
    connection = jvm.java.sql.DriverManager.getConnection(options.jdbc, properties)
    try:
        connection.setAutoCommit(False)
        query(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", rows=False)
        snapshot = query(connection, "SELECT pg_export_snapshot()")
        zoned = query(
            connection,
            "SELECT atttypid = 'timestamptz'::regtype FROM pg_attribute "
            "WHERE attrelid = 'stats'::regclass AND attname = 'date'",
        )
        times = bounds(options, zoned == "t", options.slices)
        pairs = zip(times, times[1:])
        statements = (
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
            f"SET TRANSACTION SNAPSHOT '{snapshot}'; SET row_security = off"
        )
        yield spark.read.jdbc(
            options.jdbc,
            EVENTS,
            predicates=[f"logged >= '{start}' AND logged < '{end}'" for start, end in pairs],
            properties={
                **login,
                "driver": DRIVER,
                # A transaction, which the snapshot needs, is only begun if rows are fetched in batches.
                "fetchsize": str(ROWS_AT_A_TIME),
                "sessionInitStatement": statements,
            },
        )
    finally:
        connection.close()


def query(connection, sql, rows=True):
    """The first value of a result."""
    statement = connection.createStatement()
    try:
        if not rows:
            return statement.execute(sql)
        result = statement.executeQuery(sql)
        result.next()
        return result.getString(1)
    finally:
        statement.close()


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="count_day.py",
        description="Count the events of a day with Spark and daybook fold, for daybook apply --deltas.",
    )
    parser.add_argument("--day", required=True, type=datetime.date.fromisoformat, help="YYYY-MM-DD")
    parser.add_argument("--time-zone", default="UTC", help="the ledger's [default: %(default)s]")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--parquet", nargs="+", metavar="PATH", help="Parquet files with the events")
    source.add_argument(
        "--jdbc",
        metavar="URL",
        help="jdbc:postgresql://… with the tables stats and queries; the login is PGUSER and PGPASSWORD",
    )
    parser.add_argument(
        "--slices", type=positive, default=24, help="partitions of --jdbc, by time [default: %(default)s]"
    )
    parser.add_argument(
        "--output", required=True, help="a directory or URI that all executors and the driver can write to"
    )
    parser.add_argument(
        "--ranges", type=positive, help="delta sets to write, each merged by a task [default: spark.default.parallelism]"
    )
    parser.add_argument("--daybook", default="daybook", help="the program [default: the one on the PATH]")
    parser.add_argument("--memory", default="", help="memory limit of each daybook fold, such as 256M")
    options = parser.parse_args(arguments)
    if (options.ranges or 1) > MOST_RANGES:
        parser.error(f"--ranges is at most {MOST_RANGES}")
    try:
        zoneinfo.ZoneInfo(options.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        parser.error(f"--time-zone {options.time_zone} is not known")
    return options


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def main(arguments=None):
    options = parse(arguments)
    spark = SparkSession.builder.appName(f"daybook fold {options.day}").getOrCreate()
    try:
        manifests = count_day(spark, options)
    except Refused as refused:
        sys.exit(f"count_day.py: {refused}")
    finally:
        spark.stop()
    first = manifests[0]
    print(
        f"{options.output}: {first['events']} events of {first['day']} ({first['counted']} counted, {first['ignored']} "
        f"ignored, {first['rejected']} rejected) in {first['parts']} parts, merged to {len(manifests)} ranges"
    )


if __name__ == "__main__":
    main()
