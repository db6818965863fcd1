"""Runs the job on a standalone master and two workers, and compares what it has counted with what `daybook apply` counts from
the tables. script/test-engines starts this.
"""

import os
import pathlib
import subprocess

import psycopg
import pyarrow
import pyarrow.parquet
import pytest

import count_day
from cluster import SECONDS, SETTINGS, SPARK_HOME, SPECULATION, Job, wait
from ledgers import DAYBOOK, REAL_DAY, WORKLOAD, post

HERE = pathlib.Path(__file__).parent
SLICES, RANGES = 5, 3


class Program:
    """A program that runs daybook, except where a fault is wanted. It is sent to the executors."""

    # What happens the first time that the stage's program is started, or each time.
    FIRST, EACH = "mkdir {folder}/first 2>/dev/null", "true"
    FAULTS = {
        "dies": (FIRST, "kill -KILL $$"),
        "waits": (FIRST, "wait_for_release"),
        "all wait": (EACH, "wait_for_release"),
        "fails": (EACH, "echo 'the disk is full' >&2; exit 74"),
    }
    SCRIPT = """#!/bin/bash
        wait_for_release() {{
          echo "$PPID" >{folder}/$$ && mv {folder}/$$ {folder}/waiting
          for ((n = 0; n < {tries}; n++)); do
            if [[ -e {folder}/released ]]; then return; fi
            sleep 0.05
          done
          echo "the test has not let it go on" >&2
          exit 75
        }}
        if [[ $* == {stage} ]]; then
          echo >>{folder}/started
          if {when}; then {fault}; fi
        fi
        exec {daybook} "$@"
        """

    def __init__(self, folder, stage, fault):
        self.folder = folder
        self.path = folder / f"daybook-{stage}-{folder.name}"
        when, fault = self.FAULTS[fault]
        self.write(
            self.SCRIPT,
            stage="*--merge*" if stage == "merge" else "*--ranges*",
            when=when.format(folder=folder),
            fault=fault,
            tries=SECONDS * 20,
        )

    def write(self, script, **values):
        script = script.format(folder=self.folder, daybook=DAYBOOK, **values)
        self.path.write_text(script, encoding="utf-8")
        self.path.chmod(0o755)

    def started(self):
        """How often it was started for the stage."""
        try:
            return len((self.folder / "started").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0

    def wait_until_it_waits(self, job):
        """Returns the process that has started it."""
        wait("the program to wait", (self.folder / "waiting").exists, job)
        return int((self.folder / "waiting").read_text(encoding="utf-8"))

    def release(self):
        (self.folder / "released").touch()


@pytest.fixture
def program(tmp_path):
    """Makes a program. At the end of the test, it waits no longer."""
    programs = []

    def make(*arguments):
        programs.append(Program(tmp_path, *arguments))
        return programs[-1]

    yield make
    for made in programs:
        made.release()


def start(spark, source, kind, output, *options):
    arguments = [*source.options(kind), "--output", str(output), "--ranges", str(RANGES), *options]
    if "--daybook" not in options:
        arguments += ["--daybook", DAYBOOK]
    if kind == "jdbc":
        arguments += ["--slices", str(SLICES)]
    return Job(lambda: count_day.count_day(spark, count_day.parse(arguments)))


def run(*arguments):
    return start(*arguments).result()


@pytest.mark.parametrize("kind", ["parquet", "jdbc"])
@pytest.mark.parametrize("source", ["real_day", "workload", "odd_day"])
def test_the_entry_is_that_of_the_tables(spark, request, monkeypatch, tmp_path, source, kind):
    # So that these files are shuffled in several pieces, too.
    monkeypatch.setattr(count_day, "PIECE_BYTES", 1000)
    source = request.getfixturevalue(source)
    output = tmp_path / "counted"
    manifests = run(spark, source, kind, output)
    assert post(output, source.day) == source.entry
    assert sorted(os.listdir(output)) == ["_SUCCESS", "range-0", "range-1", "range-2"]
    assert {manifest["events"] for manifest in manifests} == {int(source.entry[0].split()[2])}


def test_a_day_without_events_is_counted(spark, workload, tmp_path):
    for kind in ("parquet", "jdbc"):
        output = tmp_path / kind
        run(spark, workload, kind, output, "--day", "2011-01-01")
        entry = post(output, "2011-01-01", "--accept-decrease")
        assert entry[0].startswith("apply 2011-01-01 0 0 0 0 0 ")


@pytest.fixture(scope="session")
def kept():
    return []


@pytest.fixture
def undisturbed(kept, spark, workload, tmp_path):
    """What a job counts that nothing disturbs."""
    if not kept:
        kept.append(run(spark, workload, "jdbc", tmp_path / "undisturbed"))
    return kept[0]


@pytest.mark.parametrize(("stage", "tasks"), [("count", SLICES), ("merge", RANGES)])
def test_a_task_whose_process_dies_is_repeated(undisturbed, spark, workload, program, tmp_path, stage, tasks):
    dies = program(stage, "dies")
    assert run(spark, workload, "jdbc", tmp_path / "counted", "--daybook", str(dies.path)) == undisturbed
    assert dies.started() == tasks + 1


def test_a_job_that_fails_says_why_and_leaves_nothing_that_looks_complete(
    undisturbed, spark, workload, program, tmp_path
):
    fails, output = program("merge", "fails"), tmp_path / "counted"
    with pytest.raises(Exception, match="daybook fold ended with 74: the disk is full"):
        run(spark, workload, "jdbc", output, "--daybook", str(fails.path))
    assert not (output / "_SUCCESS").exists()
    assert run(spark, workload, "jdbc", output) == undisturbed
    with pytest.raises(count_day.Refused, match="is complete"):
        run(spark, workload, "jdbc", output)


def test_all_connections_read_one_snapshot(undisturbed, spark, workload, program, tmp_path):
    # There are more slices than cores, so one is read after the change.
    waits = program("count", "all wait")
    job = start(spark, workload, "jdbc", tmp_path / "counted", "--daybook", str(waits.path))
    waits.wait_until_it_waits(job)
    changes = f"""
        INSERT INTO stats SELECT id + 1000000000, date, type, record_type, payload, ip_geocode, query_id FROM stats
            WHERE date >= '{WORKLOAD}Z' AND date < '{WORKLOAD}Z'::timestamptz + interval '1 day';
        DELETE FROM stats WHERE id < 1000000000 AND date >= '{WORKLOAD}Z'
            AND date < '{WORKLOAD}Z'::timestamptz + interval '1 day'"""
    undo = "UPDATE stats SET id = id - 1000000000 WHERE id > 1000000000"
    try:
        with psycopg.connect(workload.url) as connection:
            connection.execute(changes)
        waits.release()
        assert job.result() == undisturbed
    finally:
        with psycopg.connect(workload.url) as connection:
            connection.execute(undo)


@pytest.mark.parametrize("stage", ["count", "merge"])
def test_a_worker_that_dies_loses_nothing(undisturbed, cluster, spark, workload, program, tmp_path, stage):
    waits, output = program(stage, "waits"), tmp_path / "counted"
    job = start(spark, workload, "jdbc", output, "--daybook", str(waits.path))
    cluster.kill_worker_of(waits.wait_until_it_waits(job))
    assert job.result() == undisturbed
    assert post(output, WORKLOAD) == workload.entry


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(["query_hash"]), "have no column query_hash"),
        (lambda table: table.set_column(4, "payload", [[{"a": 1}]]), "a column payload of type struct"),
    ],
)
def test_events_in_another_form_are_refused(spark, tmp_path, change, said):
    columns = {"id": [1], **{column: ["x"] for column in count_day.COLUMNS[1:]}}
    pyarrow.parquet.write_table(change(pyarrow.table(columns)), tmp_path / "events.parquet")
    arguments = ["--day", REAL_DAY, "--parquet", str(tmp_path / "events.parquet"), "--daybook", DAYBOOK]
    options = count_day.parse([*arguments, "--output", str(tmp_path / "counted")])
    with pytest.raises(count_day.Refused, match=said):
        count_day.count_day(spark, options)


@pytest.fixture
def speculative_spark(cluster):
    """A session that repeats each task that takes longer than the first one."""
    return cluster.session(SPECULATION)


def test_a_partition_that_is_counted_twice_counts_once(speculative_spark, workload, program, tmp_path):
    waits, output = program("count", "waits"), tmp_path / "counted"
    job = start(speculative_spark, workload, "jdbc", output, "--daybook", str(waits.path))
    wait("a second attempt", lambda: waits.started() > SLICES, job)
    waits.release()
    job.result()
    assert post(output, WORKLOAD) == workload.entry


class Stalling(Program):
    """Two attempts of one range stop in the middle of their uploads, which read a pipe: the first one after the deltas, the
    second one when it begins to write them."""

    SCRIPT = """#!/bin/bash
        # stall ATTEMPT FILE
        stall() {{
          local output=${{arguments#*--output }}
          mv "${{output%% *}}/$2" {folder}/$1.whole
          ln -s {folder}/$1.pipe "${{output%% *}}/$2"
        }}
        arguments=$*
        if [[ $* != *--merge* ]]; then exec {daybook} "$@"; fi
        {daybook} "$@" || exit
        range=$(grep '"number"' "${{@: -1}}/manifest.json")
        if mkdir {folder}/first 2>/dev/null; then
          echo "$range" >{folder}/first/range
          stall first rejected.ndjson.zst
        elif [[ $range == "$(cat {folder}/first/range)" ]]; then
          stall second deltas.ndjson.zst
        fi
        """

    def __init__(self, folder):
        self.folder, self.path = folder, folder / f"daybook-stalls-{folder.name}"
        self.write(self.SCRIPT)
        for attempt in ("first", "second"):
            os.mkfifo(folder / f"{attempt}.pipe")
        # Opened for both, so that neither side waits for the other to open it.
        self.pipes = {name: os.open(folder / f"{name}.pipe", os.O_RDWR) for name in ("first", "second")}

    def go_on(self, attempt):
        """Its upload reads what it has to."""
        os.write(self.pipes[attempt], (self.folder / f"{attempt}.whole").read_bytes())
        os.close(self.pipes.pop(attempt))

    def release(self):
        for pipe in self.pipes.values():
            os.close(pipe)


@pytest.fixture
def stalling(tmp_path):
    program = Stalling(tmp_path)
    yield program
    program.release()


def test_a_range_that_is_written_twice_at_once_is_whole(speculative_spark, workload, stalling, tmp_path):
    output = tmp_path / "counted"
    job = start(speculative_spark, workload, "jdbc", output, "--daybook", str(stalling.path))

    def uploads(file):
        return [path for path in output.glob(f"_temporary/*/*/{file}") if path.stat().st_size == 0]

    wait("the first attempt to stall", lambda: (tmp_path / "first.whole").exists() and uploads("rejected.ndjson.zst"), job)
    wait("the second attempt to stall", lambda: (tmp_path / "second.whole").exists() and uploads("deltas.ndjson.zst"), job)
    stalling.go_on("first")
    job.result()
    assert post(output, WORKLOAD) == workload.entry


def test_spark_submit_runs_the_job(cluster, real_day, tmp_path):
    cluster.start_workers()
    # Its executors have the cores.
    cluster.stop_session()
    output = tmp_path / "counted"
    settings = [f"--conf={name}={value}" for name, value in SETTINGS.items()]
    command = [SPARK_HOME / "bin/spark-submit", "--master", cluster.url, *settings, HERE / "count_day.py"]
    arguments = [*real_day.options("jdbc"), "--output", output, "--daybook", DAYBOOK, "--slices", "3"]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert ended.returncode == 0, ended.stderr
    assert "23 events of 2020-02-16" in ended.stdout
    assert post(output, REAL_DAY) == real_day.entry


def test_what_an_interrupted_job_has_left_is_replaced_and_nothing_else(tmp_path):
    for left in ("range-7", "_temporary/job"):
        (tmp_path / left).mkdir(parents=True)
    count_day.prepare(*count_day.filesystem(str(tmp_path)))
    assert not os.listdir(tmp_path)
    for left in ("range-7", "notes"):
        (tmp_path / left).mkdir()
    with pytest.raises(count_day.Refused, match="has notes: give an --output that is empty or new"):
        count_day.prepare(*count_day.filesystem(str(tmp_path)))
    assert sorted(os.listdir(tmp_path)) == ["notes", "range-7"]


@pytest.mark.parametrize(
    ("day", "zone", "is_zoned", "start", "end"),
    [
        ("2020-02-16", "UTC", True, "2020-02-15T23:00:00+00:00", "2020-02-17T01:00:00+00:00"),
        ("2020-03-29", "Europe/Berlin", True, "2020-03-28T22:00:00+00:00", "2020-03-29T23:00:00+00:00"),
        ("2020-03-29", "Europe/Berlin", False, "2020-03-28T23:00:00", "2020-03-30T01:00:00"),
    ],
)
def test_slices_cover_the_day_and_an_hour_around_it(day, zone, is_zoned, start, end):
    options = count_day.parse(["--day", day, "--time-zone", zone, "--parquet", "x", "--output", "x"])
    for slices in (1, 7):
        times = count_day.bounds(options, is_zoned, slices)
        assert (times[0], times[-1], len(times)) == (start, end, slices + 1)
        assert times == sorted(times)
