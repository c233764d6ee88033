import dataclasses
import inspect

from vms.proto import messages


def test_every_message_is_frozen_and_slotted() -> None:
    types = [
        value
        for value in vars(messages).values()
        if inspect.isclass(value) and dataclasses.is_dataclass(value) and value.__module__ == messages.__name__
    ]
    assert len(types) > 15
    for value in types:
        assert value.__dataclass_params__.frozen, value  # type: ignore[attr-defined]
        assert "__slots__" in vars(value), value


def test_a_probe_request_does_not_show_its_password() -> None:
    assert "secret" not in repr(messages.ProbeRequest("rtsp://host/1", "admin", "secret"))
