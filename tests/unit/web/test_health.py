import json

from vms.web.health import health_response


def test_only_a_vital_fault_fails_a_service() -> None:
    for vital, other, status, code in (
        (None, None, "ok", 200),
        (None, "away", "degraded", 200),
        ("broken", "away", "failed", 503),
    ):
        reply = health_response("x", vital={"disk": vital}, other={"bus": other})
        body = json.loads(bytes(reply.body))
        assert (body["status"], reply.status_code) == (status, code)
        assert body["checks"] == {"disk": vital or "ok", "bus": other or "ok"}
