"""The result of a run as a table and as JSON."""

from typing import Any

from vms.bench.ingest import BenchResult, Cost


def as_json(result: BenchResult) -> dict[str, Any]:
    """The documented JSON form."""
    settings = result.settings
    return {
        "cameras": settings.cameras,
        "seconds": settings.seconds,
        "rounds": settings.rounds,
        "paced": settings.paced_mbit is not None,
        "frame_writes": settings.frame_writes,
        "bitrate_mbps": round(result.bitrate_mbps, 2),
        "vms": {
            **_cost(result.vms),
            "frames_expected": result.frames_expected,
            "frames_recorded": result.frames_recorded,
            "packets_lost": result.packets_lost,
        },
        "floor": _cost(result.floor),
        "ffmpeg": _cost(result.ffmpeg) if result.ffmpeg else None,
        "gstreamer": _cost(result.gstreamer) if result.gstreamer else None,
        "ratios": {
            "vms_to_floor": _ratio(result.vms, result.floor),
            "vms_to_ffmpeg": _ratio(result.vms, result.ffmpeg),
            "vms_to_gstreamer": _ratio(result.vms, result.gstreamer),
        },
        "cpu_percent_per_camera_by_round": {k: [round(v, 4) for v in values] for k, values in result.spread.items()},
    }


def table(result: BenchResult) -> str:
    """A few lines for a person."""
    settings = result.settings
    burst = "frames written at once" if settings.frame_writes else "packets written back to back"
    how = f"packets one by one over {settings.paced_mbit:g} Mbit/s" if settings.paced_mbit else burst
    lines = [
        f"\n{settings.cameras} cameras, 1080p25, {result.bitrate_mbps:.1f} Mbit/s each, {settings.seconds:g} s, {how}",
        f"{'':12}{'% of a core/camera':>20}{'RSS MB/camera':>16}{'vms is':>10}",
    ]
    rows: list[tuple[str, Cost | None]] = [
        ("vms", result.vms),
        ("floor", result.floor),
        ("ffmpeg", result.ffmpeg),
        ("gstreamer", result.gstreamer),
    ]
    for name, cost in rows:
        if cost is None:
            lines.append(f"{name:12}{'not installed':>20}")
            continue
        times = None if name == "vms" else _ratio(result.vms, cost)
        ratio = "" if times is None else f"{times:.2f} ×"
        lines.append(f"{name:12}{cost.cpu_percent_per_camera:>20.3f}{cost.rss_mb_per_camera:>16.2f}{ratio:>10}")
    lines.append(
        f"frames: {result.frames_recorded} recorded of {result.frames_expected} sent; "
        f"{result.packets_lost} packets lost. RSS of vms is beyond the memory ring."
    )
    return "\n".join(lines)


def _cost(cost: Cost) -> dict[str, float]:
    return {
        "cpu_percent_per_camera": round(cost.cpu_percent_per_camera, 4),
        "rss_mb_per_camera": round(cost.rss_mb_per_camera, 3),
    }


def _ratio(cost: Cost, other: Cost | None) -> float | None:
    if other is None or not other.cpu_percent_per_camera:  # nothing measurable in a run that short
        return None
    return round(cost.cpu_percent_per_camera / other.cpu_percent_per_camera, 3)
