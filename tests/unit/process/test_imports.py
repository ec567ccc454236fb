import gc

import pytest

from mmrlhf_jobs.imports import many_imports


def test_the_collector_rests_while_modules_are_imported_and_is_as_before_then() -> None:
    assert gc.isenabled()
    with many_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_at_work() -> None:
    with pytest.raises(ImportError), many_imports():
        import mmrlhf_jobs.there_is_no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_who_has_no_collector_gets_none() -> None:
    gc.disable()
    try:
        with many_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
