"""What the job's counting costs, in processor time, compared with the program alone on the same files:

    ENGINES_SIZE=1 ENGINES_PROFILE=bench script/test-engines measure_count_day.py --capture=no

Counted is what the executors and all that they start use (user and system) while the job runs. It is posted at the end, and
must be what `apply` posts from the tables.
"""

import os
import pathlib
import re
import subprocess

import count_day
from cluster import SECONDS, is_of_session
from ledgers import DAYBOOK, WORKLOAD, post

JOBS = 2
# The optimizing compiler, as in production.
SETTINGS = {"spark.executor.extraJavaOptions": "-XX:+UseSerialGC", "spark.executor.memory": "1g"}
TICK = os.sysconf("SC_CLK_TCK")


class Used:
    """Processor time of the executors since they were started, in seconds: Java, Python, daybook."""

    def __init__(self, cluster):
        self.java = self.python = self.daybook = 0
        leaders = {worker.pid for worker in cluster.workers.values()}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if any(is_of_session(int(pid), leader) for leader in leaders):
                self.add(pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8"))

    def add(self, stat):
        name, fields = re.fullmatch(r"\d+ \((.*)\) (.*)\n", stat).groups()
        user, system, of_children_user, of_children_system = (int(ticks) / TICK for ticks in fields.split()[11:15])
        if name == "java":
            self.java += user + system
        else:
            self.python += user + system
            # A Python worker's, which outlives the job.
            self.daybook += of_children_user + of_children_system

    def since(self, before):
        figures = (self.java - before.java, self.python - before.python, self.daybook - before.daybook)
        return dict(zip(("java", "python", "daybook"), figures))


def alone(source, output):
    """Counts the same files in one process. Returns its processor time."""
    before = os.times()
    files = sorted(str(path) for path in source.parquet.iterdir())
    arguments = ["fold", "--day", source.day, "--output", str(output), *files]
    subprocess.run([DAYBOOK, *arguments], check=True, capture_output=True, timeout=SECONDS)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_what_counting_costs(cluster, workload, tmp_path):
    spark = cluster.session(SETTINGS)
    events = int(workload.entry[0].split()[2])
    print(f"\n{events} events of {WORKLOAD}, processor time in seconds")
    for number in range(JOBS):
        by_itself = alone(workload, tmp_path / f"alone-{number}")
        output = tmp_path / f"counted-{number}"
        arguments = [*workload.options("parquet"), "--output", str(output), "--daybook", DAYBOOK]
        before = Used(cluster)
        count_day.count_day(spark, count_day.parse(arguments))
        used = Used(cluster).since(before)
        total = sum(used.values())
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in used.items())
        print(
            f"fold alone {by_itself:.2f} ({by_itself / events * 1e6:.1f} µs an event); job {number + 1}: {total:.2f} "
            f"({total / events * 1e6:.1f} µs): {parts}; {total / by_itself:.2f} × alone"
        )
    assert post(output, WORKLOAD) == workload.entry
