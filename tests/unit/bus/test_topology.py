from pathlib import Path
from typing import Any, cast

from tests.support.nats import NatsServer, connected_bus

from vms.bus import topology
from vms.bus.jetstream import NANOSECONDS, api
from vms.bus.settings import BusSettings
from vms.proto import subjects


def config(name: str) -> dict[str, Any]:
    found = [entry for entry in topology.declared(BusSettings()) if entry["name"] == name]
    return cast("dict[str, Any]", found[0])


def test_unread_fragments_are_never_discarded() -> None:
    fragments = config(subjects.FRAGMENTS_STREAM)
    assert (fragments["retention"], fragments["discard"]) == ("workqueue", "new")
    assert "max_age" not in fragments
    assert fragments["max_bytes"] == 2 << 30


def test_live_state_and_leases_expire() -> None:
    assert config("KV_vms_status")["max_age"] == 60 * NANOSECONDS
    assert config("KV_vms_leases")["max_age"] == 10 * NANOSECONDS
    assert "max_age" not in config("KV_vms_cameras")


def test_every_stream_is_bounded() -> None:
    assert all(cast("int", entry["max_bytes"]) > 0 for entry in topology.declared(BusSettings()))


def test_settings_that_the_server_leaves_out_because_they_are_unset_do_not_differ() -> None:
    assert not topology.differs({"a": 1, "b": False, "c": 0}, {"a": 1, "z": 9})
    assert topology.differs({"a": 1}, {"a": 2})
    assert topology.differs({"a": 0}, {"a": 2})
    assert topology.differs({"a": 1}, {})


async def test_the_server_reports_what_was_declared_so_that_ensuring_again_changes_nothing(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        session = bus._link.require()
        answer = await api(session, "STREAM.LIST", {})
        existing = {info["config"]["name"]: info["config"] for info in answer["streams"]}
        for wanted in topology.declared(BusSettings()):
            assert not topology.differs(wanted, existing[str(wanted["name"])])


async def test_a_stream_with_other_limits_is_updated_and_a_deleted_one_made_again(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        session = bus._link.require()
        await api(session, "STREAM.DELETE.VMS_EVENTS", {})
        await topology.ensure(session, BusSettings(recording_max_bytes=7 << 20))
        info = await api(session, "STREAM.INFO.VMS_RECORDING", {})
        assert info["config"]["max_bytes"] == 7 << 20
        assert (await api(session, "STREAM.INFO.VMS_EVENTS", {}))["config"]["subjects"] == ["vms.events.>"]
