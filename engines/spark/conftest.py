"""What all tests of this folder share: a cluster, with its logs where a test has failed, and events."""

import os
import pathlib
import re

import psycopg
import pytest
from pyspark import cloudpickle

import count_day
from cluster import Cluster
from ledgers import LEDGER, ODD, REAL_DAY, WORKLOAD, Source, fresh_database

# The executors get the job's functions by value, as from spark-submit.
cloudpickle.register_pickle_by_value(count_day)


@pytest.fixture(scope="session")
def started_cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(started_cluster):
    started_cluster.note_logs()
    return started_cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    cluster = item.funcargs.get("started_cluster")
    if report.failed and cluster:
        cluster.has_failed = True
        report.sections += [(f"Spark's log {name}", text) for name, text in cluster.new_in_logs()]
    return report


@pytest.fixture
def spark(cluster):
    return cluster.session()


@pytest.fixture(scope="session", autouse=True)
def login():
    user, password = re.match(r"postgres://(.*):(.*)@", LEDGER).groups()
    os.environ.update(PGUSER=user, PGPASSWORD=password)


@pytest.fixture(scope="session")
def real_day(tmp_path_factory):
    return Source(os.environ["REAL_DAY"], REAL_DAY, tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def workload(tmp_path_factory):
    return Source(os.environ["WORKLOAD"], WORKLOAD, tmp_path_factory.mktemp("workload"))


@pytest.fixture(scope="session")
def odd_day(tmp_path_factory):
    url = fresh_database("daybook_engines_odd")
    with psycopg.connect(url) as connection:
        connection.execute(pathlib.Path(__file__).with_name("odd-events.sql").read_text(encoding="utf-8"))
    return Source("daybook_engines_odd", ODD, tmp_path_factory.mktemp("odd"))
