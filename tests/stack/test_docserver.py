"""The embedded document server answers filters from its indexes, and takes what is asked of it."""

import statistics
import time

import pymongo
import pytest
from pymongo.errors import BulkWriteError, DuplicateKeyError

from stack import Stack

DOCUMENTS = 20_000


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    home = tmp_path_factory.mktemp("docserver")
    for folder in (home, *home.parents):
        if folder.name.startswith("pytest"):
            folder.chmod(0o755)
    with Stack(home, servers_only=True) as stack:
        client = pymongo.MongoClient(stack.urls["mongodb"])
        collection = client.get_default_database().node_results
        for batch in range(DOCUMENTS // 100):
            collection.insert_many([{"_id": f"e{batch}/n{i}", "e": f"e{batch}", "t": batch % 7, "output": "x" * 100}
                                    for i in range(100)], ordered=False)
        yield collection
        client.close()


def median_ms(call, times=100):
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        call(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def test_finding_by_id_uses_the_index(results):
    found = median_ms(lambda n: results.find_one({"_id": f"e{n}/n{n % 100}"}) or pytest.fail("not found"))
    assert found < 3, f"find by _id took {found:.2f} ms of {DOCUMENTS} documents"


def test_finding_an_execution_uses_the_index(results):
    results.insert_many([{"_id": f"single{n}/n0", "e": f"single{n}", "t": n % 7} for n in range(100)])
    found = median_ms(lambda n: len(list(results.find({"t": n % 7, "e": f"single{n}"}))) == 1 or pytest.fail("lost"))
    assert found < 3, f"find by execution took {found:.2f} ms of {DOCUMENTS} documents"


def test_an_unordered_bulk_goes_on_after_a_duplicate(results):
    with pytest.raises(BulkWriteError) as refused:
        results.insert_many([{"_id": "e0/n0"}, {"_id": "fresh/n0"}], ordered=False)
    assert [error["code"] for error in refused.value.details["writeErrors"]] == [11000]
    assert results.find_one({"_id": "fresh/n0"})


def test_one_commit_wins(results):
    results.insert_one({"_id": "once/n0", "e": "once", "t": 1})
    with pytest.raises(DuplicateKeyError):
        results.insert_one({"_id": "once/n0", "e": "once", "t": 2})
    assert results.find_one({"_id": "once/n0"})["t"] == 1
