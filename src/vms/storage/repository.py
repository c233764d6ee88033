"""The catalogue of recordings in the database."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, case, delete, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from vms.common.stream import Container, VideoCodec
from vms.common.types import CameraId
from vms.db.engine import SessionFactory, reading, writing
from vms.db.models import Gap as GapRow
from vms.db.models import Segment, SegmentState
from vms.proto.messages import Gap, GapCause
from vms.storage.segments import SegmentFacts, Span
from vms.web.paging import Cursor

_JOIN_US = 1_500_000  # retention gaps closer than this become one row


class CatalogueRepository:
    """Segments and gaps. Every method is one transaction; failures are those of vms.db.engine."""

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions

    async def put(self, segments: Sequence[SegmentFacts], *, now_us: int, reopened: bool = False) -> None:
        """Insert files or bring their rows up to date, in one transaction; doing it twice changes nothing.

        A report that is older than the row does not take it back: an open file only grows, and a closed one opens
        again only when its recorder says so (``reopened``) or when it has grown. What a close reports is final, even
        when it is less than what was reported before a power cut.
        """
        async with writing(self._sessions) as session:
            for facts in segments:
                await session.execute(_upsert(session, facts, now_us=now_us, reopened=reopened))

    async def put_gap(self, gap: Gap) -> None:
        """Insert a gap, or extend the one with the same start and cause."""
        async with writing(self._sessions) as session:
            await _put_gap(session, gap)

    async def overlapping(self, camera_id: CameraId, span: Span) -> list[SegmentFacts]:
        """Files that overlap a span by their row, oldest first. Open ones count to the end of time: they grow."""
        query = select(Segment).where(_overlaps(camera_id, span.start_us, span.end_us)).order_by(Segment.start_us)
        async with reading(self._sessions) as session:
            return [_facts(row) for row in await session.scalars(query)]

    async def page(
        self, camera_id: CameraId, *, start_us: int | None, end_us: int | None, limit: int, after: Cursor | None
    ) -> list[SegmentFacts]:
        """At most ``limit`` files that overlap [start_us, end_us), oldest first, those behind ``after``."""
        query = select(Segment).where(_overlaps(camera_id, start_us, end_us))
        if after is not None:
            same = and_(Segment.start_us == after.position, Segment.id > after.id)
            query = query.where(or_(Segment.start_us > after.position, same))
        async with reading(self._sessions) as session:
            rows = await session.scalars(query.order_by(Segment.start_us, Segment.id).limit(limit))
            return [_facts(row) for row in rows]

    async def find(self, camera_id: CameraId, row_id: str) -> SegmentFacts | None:
        """One file, or None."""
        async with reading(self._sessions) as session:
            row = await session.get(Segment, row_id)
        return _facts(row) if row is not None and row.camera_id == camera_id else None

    async def gaps(self, camera_id: CameraId, span: Span) -> list[Gap]:
        """Gaps that overlap a span, oldest first."""
        query = (
            select(GapRow)
            .where(GapRow.camera_id == camera_id, GapRow.end_us > span.start_us, GapRow.start_us < span.end_us)
            .order_by(GapRow.start_us)
        )
        async with reading(self._sessions) as session:
            return [
                Gap(camera_id, row.start_us, row.end_us, GapCause(row.cause), row.detail)
                for row in await session.scalars(query)
            ]

    async def cameras(self) -> list[CameraId]:
        """Every camera that has recordings."""
        async with reading(self._sessions) as session:
            return [CameraId(name) for name in await session.scalars(select(Segment.camera_id).distinct())]

    async def closed_before(self, camera_id: CameraId, end_us: int, *, limit: int) -> list[SegmentFacts]:
        """Closed files of a camera that ended before a time, oldest first."""
        query = (
            select(Segment)
            .where(Segment.camera_id == camera_id, Segment.state == SegmentState.CLOSED.value, Segment.end_us < end_us)
            .order_by(Segment.start_us)
            .limit(limit)
        )
        async with reading(self._sessions) as session:
            return [_facts(row) for row in await session.scalars(query)]

    async def oldest_closed(self, volume: str, *, limit: int) -> list[SegmentFacts]:
        """Closed files of a volume, across cameras, oldest end first."""
        query = (
            select(Segment)
            .where(Segment.volume == volume, Segment.state == SegmentState.CLOSED.value)
            .order_by(Segment.end_us)
            .limit(limit)
        )
        async with reading(self._sessions) as session:
            return [_facts(row) for row in await session.scalars(query)]

    async def open_segments(self) -> list[SegmentFacts]:
        """Files that were not closed yet, or whose closing was never reported."""
        async with reading(self._sessions) as session:
            rows = await session.scalars(select(Segment).where(Segment.state == SegmentState.OPEN.value))
            return [_facts(row) for row in rows]

    async def closed_among(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are catalogued as closed."""
        query = select(Segment.id).where(Segment.id.in_(ids), Segment.state == SegmentState.CLOSED.value)
        async with reading(self._sessions) as session:
            return set(await session.scalars(query))

    async def places(self, *, after: str, limit: int) -> list[SegmentFacts]:
        """Files in order of their id, for a walk over all of them."""
        query = select(Segment).where(Segment.id > after).order_by(Segment.id).limit(limit)
        async with reading(self._sessions) as session:
            return [_facts(row) for row in await session.scalars(query)]

    async def remove(self, facts: SegmentFacts, gap: Gap) -> None:
        """Delete the row of a file that is gone, and say so in the gap ledger."""
        async with writing(self._sessions) as session:
            await session.execute(delete(Segment).where(Segment.id == facts.id))
            previous = await session.scalar(
                select(GapRow)
                .where(
                    GapRow.camera_id == gap.camera_id,
                    GapRow.cause == gap.cause.value,
                    GapRow.start_us <= gap.start_us,
                    GapRow.end_us >= gap.start_us - _JOIN_US,
                )
                .order_by(GapRow.end_us.desc())
                .limit(1)
            )
            # One row that grows with the age of the installation, instead of one per hour and camera.
            if previous is None:
                await _put_gap(session, gap)
            else:
                joined = max(previous.end_us, gap.end_us)
                await session.execute(update(GapRow).where(GapRow.id == previous.id).values(end_us=joined))

    async def totals(self) -> dict[str, tuple[int, int]]:
        """Files and bytes per volume."""
        query = select(Segment.volume, func.count(), func.coalesce(func.sum(Segment.bytes), 0)).group_by(Segment.volume)
        async with reading(self._sessions) as session:
            return {volume: (count, size) for volume, count, size in await session.execute(query)}

    async def ping(self) -> None:
        """Raises VmsError(UNAVAILABLE) when the database does not answer."""
        async with reading(self._sessions) as session:
            await session.execute(select(1))


def _upsert(
    session: AsyncSession, facts: SegmentFacts, *, now_us: int, reopened: bool
) -> sqlite.Insert | postgresql.Insert:
    values = _values(facts)
    statement = _insert(session)(Segment).values(
        {**values, "id": facts.id, "created_us": now_us, "camera_id": facts.camera_id}
    )
    new = statement.excluded
    is_newer = or_(
        new.bytes > Segment.bytes,
        Segment.state == SegmentState.OPEN.value,
        new.state == SegmentState.CLOSED.value,
        and_(literal(reopened), new.bytes == Segment.bytes),
    )
    is_open = new.state == SegmentState.OPEN.value
    changes: dict[str, ColumnElement[object]] = {name: new[name] for name in values}
    for name in ("end_us", "bytes", "frames", "fragments"):
        column = getattr(Segment, name)
        changes[name] = case((and_(is_open, new[name] < column), column), else_=new[name])
    return statement.on_conflict_do_update(index_elements=["volume", "path"], set_=changes, where=is_newer)


def _insert(session: AsyncSession) -> type[sqlite.Insert] | type[postgresql.Insert]:
    """The INSERT … ON CONFLICT of the database in use."""
    return postgresql.Insert if session.get_bind().dialect.name == "postgresql" else sqlite.Insert


async def _put_gap(session: AsyncSession, gap: Gap) -> None:
    statement = _insert(session)(GapRow).values(
        camera_id=gap.camera_id,
        start_us=gap.start_us,
        end_us=gap.end_us,
        cause=gap.cause.value,
        detail=gap.detail[:500],
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["camera_id", "start_us", "cause"],
            set_={"end_us": statement.excluded.end_us, "detail": statement.excluded.detail},
            where=statement.excluded.end_us > GapRow.end_us,
        )
    )


def _overlaps(camera_id: CameraId, start_us: int | None, end_us: int | None) -> ColumnElement[bool]:
    conditions = [Segment.camera_id == camera_id]
    if start_us is not None:
        conditions.append(or_(Segment.end_us > start_us, Segment.state == SegmentState.OPEN.value))
    if end_us is not None:
        conditions.append(Segment.start_us < end_us)
    return and_(*conditions)


def _values(facts: SegmentFacts) -> dict[str, object]:
    """The columns that a report sets."""
    return {
        "volume": facts.volume,
        "path": facts.path,
        "container": facts.container.value,
        "codec": facts.codec.value,
        "codec_string": facts.codec_string,
        "width": facts.width,
        "height": facts.height,
        "start_us": facts.start_us,
        "end_us": facts.end_us,
        "bytes": facts.size_bytes,
        "frames": facts.frames,
        "fragments": facts.fragments,
        "state": (SegmentState.CLOSED if facts.closed else SegmentState.OPEN).value,
    }


def _facts(row: Segment) -> SegmentFacts:
    return SegmentFacts(
        id=row.id,
        camera_id=CameraId(row.camera_id),
        volume=row.volume,
        path=row.path,
        container=Container(row.container),
        codec=VideoCodec(row.codec),
        codec_string=row.codec_string,
        width=row.width,
        height=row.height,
        start_us=row.start_us,
        end_us=row.end_us,
        size_bytes=row.bytes,
        frames=row.frames,
        fragments=row.fragments,
        closed=row.state == SegmentState.CLOSED.value,
    )
