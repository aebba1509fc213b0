"""What an examination of a model file found: as tables for the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.examination import Conversions, Examination, Finding, ModelFile, OutputCheck, Profile, TensorRange

TITLES = {"wrong": "Why it is wrong", "slow": "Why it is slow", "file": "What the file lacks"}
STYLES = {"wrong": "bold red", "slow": "bold yellow", "file": "bold"}
SLOWEST = MOST = 10  # rows
NONE = "–"


def as_text(found: Examination) -> str:
    """JSON, whose structure docs/int8.md tells; numbers that are none become null."""
    return msgspec.json.format(msgspec.json.encode(as_dict(found)), indent=2).decode()


def as_dict(found: Examination) -> dict[str, Any]:
    """Plain values; shares are fractions."""
    return {
        "file": asdict(found.file) | {"path": str(found.file.path)},
        "data": found.data and str(found.data),
        "pictures": found.pictures,
        "processor_flags": list(found.flags),
        "findings": [asdict(finding) for finding in found.findings],
        "profile": _profile(found.profile),
        "conversions": asdict(found.conversions),
        "ranges": [asdict(tensor) for tensor in found.ranges],
        "outputs": [asdict(output) for output in found.outputs],
    }


def _profile(profile: Profile) -> dict[str, Any]:
    nodes = [asdict(node) | {"share": profile.share(node.ms)} for node in profile.nodes]
    operators = [asdict(operator) for operator in profile.operators()]
    return asdict(profile) | {"nodes_ms": profile.nodes_ms, "operators": operators, "nodes": nodes}


def tables(found: Examination) -> RenderableType:
    """What to do first, the figures behind it below."""
    parts: list[RenderableType] = [*_head(found)]
    for about, title in TITLES.items():
        told = [finding for finding in found.findings if finding.about == about]
        parts += ["", Text(title, style=STYLES[about]), *map(_finding, told)] if told else []
    if not found.findings:
        parts += ["", Text("Nothing was found that makes it slow or wrong.", style="bold green")]
    parts += [_operators(found.profile), _nodes(found.profile)]
    if found.conversions.fallbacks:
        parts.append(_fallbacks(found.conversions))
    if found.ranges:
        parts.append(_ranges(found.ranges))
    return Group(*parts, _outputs(found.outputs, _looked_at(found)))


def _head(found: Examination) -> list[Text]:
    profile, file = found.profile, found.file
    where = f"{profile.runtime} {profile.runtime_version}, {profile.threads} thread{'s' * (profile.threads != 1)}"
    return [
        Text(str(file.path), style="bold"),
        Text(_said(file), style="dim"),
        Text(
            f"{profile.pass_ms:.1f} ms a pass under the profiler ({where}, median of {profile.passes}); "
            f"processor: {', '.join(found.flags) or 'unknown'}",
            style="dim",
        ),
    ]


def _said(file: ModelFile) -> str:
    shape = "×".join(map(str, file.input_shape))
    kind = f"{file.quantize_nodes} quantizing nodes" if file.is_quantized else "float"
    task = f"{file.task or 'unknown task'}, {file.classes or 'unknown'} classes"
    return (
        f"{file.size_bytes / 1e6:.1f} MB, {kind}, {shape}, opset {file.opset}, {task}, by {file.producer or 'nobody'}"
    )


def _finding(finding: Finding) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("•", finding.text)
    table.add_row("→", Text(finding.remedy, style="green"))
    return table


def _operators(profile: Profile) -> Group:
    table = _table("operator", "nodes", "ms", "share")
    every = profile.operators()
    for total in every[:MOST]:
        table.add_row(total.operator, str(total.count), f"{total.ms:.2f}", _percent(total.share))
    if rest := every[MOST:]:
        ms = sum(total.ms for total in rest)
        count = sum(total.count for total in rest)
        table.add_row(f"{len(rest)} others", str(count), f"{ms:.2f}", _percent(profile.share(ms)))
    return _titled("Time by operator, as the runtime runs the graph", table)


def _nodes(profile: Profile) -> Group:
    table = _table("node", "operator", "ms", "share")
    for node in sorted(profile.nodes, key=lambda node: -node.ms)[:SLOWEST]:
        table.add_row(node.name, node.operator, f"{node.ms:.2f}", _percent(profile.share(node.ms)))
    return _titled("Slowest nodes", table)


def _fallbacks(found: Conversions) -> Group:
    table = _table("operator", "count", "ms", "share")
    for fallback in found.fallbacks[:MOST]:
        table.add_row(fallback.operator, str(fallback.count), f"{fallback.ms:.2f}", _percent(fallback.share))
    around = f"{found.count} conversions run ({found.ms:.2f} ms, {_percent(found.share)})"
    return _titled(f"In float between quantized operators: {found.islands} islands; {around}", table)


def _ranges(found: Sequence[TensorRange]) -> Group:
    table = _table("tensor", "8 bits tell", "step", "seen", "clipped")
    for tensor in found[:MOST]:
        seen = NONE if tensor.seen_low is None else f"{tensor.seen_low:.3g} to {tensor.seen_high:.3g}"
        clipped = NONE if tensor.clipped_share is None else _percent(tensor.clipped_share)
        table.add_row(tensor.tensor, f"{tensor.low:.3g} to {tensor.high:.3g}", f"{tensor.step:.3g}", seen, clipped)
    return _titled("Tensors that their 8 bits do not hold", table)


def _outputs(found: Sequence[OutputCheck], where: str) -> Group:
    table = _table("output", "shape", "range", "not finite", "verdict")
    for output in found:
        shape = "×".join(map(str, output.shape))
        verdict = Text("useless", style="bold red") if output.fault else Text("fine")
        span = f"{output.low:.3g} to {output.high:.3g}"
        table.add_row(output.name, shape, span, _percent(output.not_finite_share), verdict)
    return _titled(f"Outputs on {where}", table)


def _looked_at(found: Examination) -> str:
    return f"{found.pictures} drawn pictures" if found.data is None else f"{found.pictures} pictures of {found.data}"


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _titled(title: str, table: Table) -> Group:
    """A line above the table, however narrow that is."""
    return Group("", Text(title, style="bold"), table)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
