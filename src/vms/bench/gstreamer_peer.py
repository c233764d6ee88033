"""The GStreamer peer: one process, one pipeline per camera. Runs in the system's Python, which has gi.

/usr/bin/python3 gstreamer_peer.py URL_WITH_{n} CAMERAS DIRECTORY
"""
# ruff: noqa: E402 - a script for another interpreter; gi wants its versions named before the import

import sys

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # type: ignore[import-not-found]


def main(url: str, cameras: int, directory: str) -> None:
    """Record every stream until killed."""
    Gst.init(None)
    pipelines = []
    for n in range(cameras):
        pipeline = Gst.parse_launch(
            f"rtspsrc location={url.replace('{n}', str(n))} protocols=tcp latency=0 ! rtph264depay ! h264parse ! "
            f"splitmuxsink muxer=matroskamux location={directory}/{n}_%05d.mkv max-size-time=60000000000"
        )
        pipeline.set_state(Gst.State.PLAYING)
        pipelines.append(pipeline)
    print("ready", flush=True)
    GLib.MainLoop().run()


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
