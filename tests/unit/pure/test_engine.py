"""The engine: an exception for one key costs only that key its update."""

from xds_server.core.engine import Engine


def test_an_output_moves_when_it_is_another() -> None:
    inputs = {"a": 1, "b": 0}
    engine: Engine[str, int] = Engine(lambda key, _: inputs[key], 0)
    assert engine.update("ab") == {"a": 0}
    assert (engine.get("a"), engine.get("b")) == (1, 0)
    assert engine.update("ab") == {}
    inputs["a"] = 0
    assert engine.update("a") == {"a": 1}
    assert engine.get("a") == 0
    assert vars(engine)["_outputs"] == {}, "nothing is kept of it"


def test_what_raises_keeps_its_last_output_until_it_can_be_made() -> None:
    broken: set[str] = set()
    inputs = {"a": 1, "b": 1}

    def make(key: str, before: int) -> int:
        assert before == engine.get(key)
        if key in broken:
            raise ValueError(key)
        return inputs[key]

    engine: Engine[str, int] = Engine(make, 0)
    engine.update("ab")
    broken.add("a")
    inputs.update(a=2, b=2)
    assert engine.update("ab") == {"b": 1}
    assert (engine.get("a"), engine.get("b")) == (1, 2)
    assert [str(error) for error in engine.errors.values()] == ["a"]
    broken.clear()
    assert engine.update("a") == {"a": 1}
    assert dict(engine.errors) == {}


def test_an_output_that_cannot_be_used_is_taken_back() -> None:
    inputs = {"a": 1, "b": 1}
    engine: Engine[str, int] = Engine(lambda key, _: inputs[key], 0)
    engine.update("a")
    inputs["a"] = 2
    moved = engine.update("ab")
    for key, before in moved.items():
        engine.restore(key, before, ValueError(key))
    assert (engine.get("a"), engine.get("b")) == (1, 0)
    assert [str(error) for error in engine.errors.values()] == ["a", "b"]
    assert engine.update("ab") == {"a": 1, "b": 0}
    assert dict(engine.errors) == {}
