from prometheus_client.parser import text_string_to_metric_families

from vms.telemetry.metrics import CONTENT_TYPE, Metric, MetricKind, MetricsRegistry, counter, gauge, labelled


def samples(registry: MetricsRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(registry.render().decode())
    return {(s.name, tuple(s.labels.items())): s.value for family in families for s in family.samples}


def test_sources_are_asked_at_each_scrape() -> None:
    registry = MetricsRegistry()
    frames = {"cam1": 1.0}
    registry.add(lambda: [labelled(MetricKind.COUNTER, "vms_frames_total", "Frames", label="camera", values=frames)])
    assert samples(registry)["vms_frames_total", (("camera", "cam1"),)] == 1
    frames.update(cam1=2.0, cam2=5.0)
    assert samples(registry)["vms_frames_total", (("camera", "cam1"),)] == 2
    assert samples(registry)["vms_frames_total", (("camera", "cam2"),)] == 5


def test_kinds_and_meanings_are_declared_under_the_name_that_was_given() -> None:
    registry = MetricsRegistry()
    registry.add(lambda: [gauge("vms_up", "Is up", 1), counter("vms_lost_total", "Lost", 3)])
    text = registry.render().decode()
    assert "# HELP vms_up Is up\n# TYPE vms_up gauge\nvms_up 1.0" in text
    assert "# TYPE vms_lost_total counter\nvms_lost_total 3.0" in text


def test_a_family_may_have_several_labels_and_odd_values() -> None:
    registry = MetricsRegistry()
    metric = Metric("vms_gap", MetricKind.GAUGE, "Gap", ("camera", "cause"), [(('a"b\\', "disk\nfull"), 1.5)])
    registry.add(lambda: [metric])
    assert samples(registry)["vms_gap", (("camera", 'a"b\\'), ("cause", "disk\nfull"))] == 1.5


def test_the_process_itself_is_measured() -> None:
    text = MetricsRegistry().render().decode()
    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text
    assert CONTENT_TYPE.startswith("text/plain")
