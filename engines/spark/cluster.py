"""Spark for the tests, on loopback: a master, two workers, and a driver in the process of the tests.

Whatever waits has a time limit, and says what it waited for. After a test that has failed, the workers and the session are
started anew, so that the next one finds everything in order.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pyspark
import pytest
from pyspark.sql import SparkSession

SPARK_HOME = pathlib.Path(pyspark.__file__).parent
# Spark runs a task's second attempt on another host only.
DRIVER, HOSTS = "127.0.0.1", ("127.0.0.2", "127.0.0.3")
# Much longer than anything takes, also on a machine that does much else.
SECONDS = 300
# For the minutes that tests last, compiling well costs more than it gains.
JAVA = os.environ.get("ENGINES_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
SETTINGS = {
    "spark.driver.host": DRIVER,
    "spark.driver.bindAddress": DRIVER,
    "spark.driver.extraJavaOptions": JAVA,
    "spark.executor.memory": "512m",
    "spark.executor.extraJavaOptions": JAVA,
    "spark.jars": os.environ["JDBC_JAR"],
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # How long a task asks a dead executor for what it has: by default, three times with 5 seconds between.
    "spark.shuffle.io.maxRetries": "1",
    "spark.shuffle.io.retryWait": "1s",
}
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.quantile": "0.1",
    "spark.speculation.multiplier": "1",
    "spark.speculation.interval": "50ms",
}
LAST_LINES = 60

os.environ["PYSPARK_PYTHON"] = sys.executable


def wait(what, condition, job=None):
    """Waits until the condition returns something true, and returns it."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        if job:
            job.raise_what_it_raised()
        if time.monotonic() > deadline:
            pytest.fail(f"{SECONDS} s have passed, still waiting for {what}")
        time.sleep(0.05)
    return found


class Job:
    """Work in a thread of its own."""

    def __init__(self, work):
        self.results, self.errors = [], []

        def run():
            try:
                self.results.append(work())
            except BaseException as error:  # pylint: disable=broad-exception-caught
                self.errors.append(error)

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def raise_what_it_raised(self):
        for error in self.errors:
            raise error

    def result(self):
        wait("the end of the job", lambda: not self.thread.is_alive())
        self.raise_what_it_raised()
        return self.results[0]


class Cluster:
    """A master and two workers, each on a host of its own."""

    def __init__(self, folder):
        self.folder, self.workers, self.spark, self.settings = folder, {}, None, None
        self.has_failed, self.seen = False, {}
        self.master, ready = self.launch("master", DRIVER, r"Starting Spark master at (\S+)")
        self.url = ready()[1]

    def session(self, settings=None):
        """A session with an executor on each host."""
        if self.has_failed:
            self.stop_session()
            for worker in self.workers.values():
                kill_session(worker)
            self.has_failed = False
        self.start_workers()
        if self.spark and self.settings != settings:
            self.stop_session()
        if not self.spark:
            builder = SparkSession.builder.master(self.url)
            for name, value in {**SETTINGS, **(settings or {})}.items():
                builder = builder.config(name, value)
            self.spark, self.settings = builder.getOrCreate(), settings
        wait(f"an executor on each of {', '.join(HOSTS)}", lambda: self.hosts_of_executors() == set(HOSTS))
        return self.spark

    def hosts_of_executors(self):
        executors = self.spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()
        return {executor.host() for executor in executors} - {DRIVER}

    def stop_session(self):
        if self.spark:
            self.spark.stop()
            self.spark = None

    def start_workers(self):
        starting = []
        for host in HOSTS:
            if host not in self.workers or self.workers[host].poll() is not None:
                arguments = ["--cores", "2", "--memory", "1g", "--work-dir", str(self.folder / host), self.url]
                self.workers[host], ready = self.launch("worker", host, "Successfully registered with master", *arguments)
                starting.append(ready)
        for ready in starting:
            ready()

    def launch(self, role, host, says, *arguments):
        """Starts a process. Returns it, and what waits until it says that it is ready."""
        log = self.folder / f"{role}-{host}.log"
        with log.open("ab") as sink:
            before = sink.tell()
            process = subprocess.Popen(
                [
                    # Nothing is left of it if the tests are killed.
                    *["setpriv", "--pdeathsig", "KILL", SPARK_HOME / "bin/spark-class"],
                    f"org.apache.spark.deploy.{role}.{role.capitalize()}",
                    *["--host", host, "--port", "0", "--webui-port", "0", *arguments],
                ],
                env={
                    **os.environ,
                    "SPARK_LOCAL_IP": host,
                    "SPARK_DAEMON_MEMORY": "256m",
                    "SPARK_DAEMON_JAVA_OPTS": JAVA,
                },
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                # Its children can be told by it: see kill_session.
                start_new_session=True,
            )

        def said():
            if process.poll() is not None:
                pytest.fail(f"the {role} on {host} has ended:\n{log.read_text(encoding='utf-8')[before:]}")
            return re.search(says, log.read_text(encoding="utf-8")[before:])

        return process, lambda: wait(f"the {role} on {host} to say '{says}'", said)

    def kill_worker_of(self, pid):
        """Kills the worker that has started a process, and all that it has started, as if its machine had died."""
        leader = os.getsid(pid)
        killed = [worker for worker in self.workers.values() if worker.pid == leader]
        assert killed, f"process {pid} was not started by a worker"
        kill_session(killed[0])

    def stop(self):
        self.stop_session()
        for process in [*self.workers.values(), self.master]:
            kill_session(process)

    def note_logs(self):
        self.seen = {path: path.stat().st_size for path in self.logs()}

    def logs(self):
        return [*self.folder.glob("*.log"), *self.folder.glob("*/*/*/stderr")]

    def new_in_logs(self):
        """What the processes of the cluster have said since note_logs. The driver's log is on stderr."""
        for path in sorted(self.logs()):
            with path.open("rb") as file:
                file.seek(self.seen.get(path, 0))
                lines = file.read().decode(errors="replace").splitlines()
            if lines:
                left_out = [f"… {len(lines) - LAST_LINES} lines"] if len(lines) > LAST_LINES else []
                yield str(path.relative_to(self.folder)), "\n".join(left_out + lines[-LAST_LINES:])


def kill_session(leader):
    """Kills a process that leads a session, and every process of the session, until there is none."""

    def none_is_left():
        pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_of_session(pid, leader.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # While its other threads end, one that leads looks as if it had ended.
        return leader.poll() is not None and not pids

    wait(f"the end of process {leader.pid} and of all that it has started", none_is_left)


def is_of_session(pid, leader):
    """Whether a process is one of the session, and has not ended."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, _, _, session = stat.rpartition(")")[2].split()[:4]
    return int(session) == leader and state not in "ZX"
