"""What a build says at its end: the stages, where things are, what to type next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.cli.output import seconds, size, styled, table
from builder.plan.decide import Action, Do
from builder.plan.step import Plan
from builder.store.contract import Object
from builder.store.local import LocalStore


def build_report(
    path: Path,
    plan: Plan,
    actions: tuple[Action, ...],
    done: Mapping[str, Object],
    observed: Mapping[str, Mapping[str, Any]],
    store: LocalStore,
    until: str,
) -> dict[str, Any]:
    """The build as plain data: the document of `build --json`."""
    images = _images(plan, done, observed, store)
    goals = [each for each in plan.steps if each.stage == until]
    return {
        "recipe": str(path),
        "results": [str(store.object_path(each.key)) for each in goals] if until else [i["image_id"] for i in images],
        "images": [] if until else images,
        "steps": [_step_report(each, done, store) for each in actions],
        "store": str(store.root),
    }


def _images(
    plan: Plan, done: Mapping[str, Object], observed: Mapping[str, Mapping[str, Any]], store: LocalStore
) -> list[dict[str, Any]]:
    found = []
    for variant, (name, key) in zip(plan.variants, plan.goals, strict=True):
        goal = plan.by_key[key]
        result = dict(done[key].record.result) if key in done else dict(observed.get(key, {}))
        step = plan.by_key[dict(goal.inputs)["register"]] if goal.stage == "publish" else goal
        if not result.get("image_id"):
            continue
        snapshot = _result_of(dict(step.inputs).get("snapshot", ""), done, store)
        found.append(
            {
                "image_id": result["image_id"],
                "name": step.spec["name"],
                "variant": name,
                "architecture": variant.architecture,
                "instance_type": variant.instance_type,
                "kernel_id": step.spec["kernel_id"],
                "location": "" if snapshot else result.get("location", ""),
                "snapshot_id": snapshot.get("snapshot_id", ""),
                "region": variant.region,
                "key": step.key,
                "copies": {name: id for name, id in result.get("images", {}).items() if name != variant.region},
            }
        )
    return found


def _result_of(key: str, done: Mapping[str, Object], store: LocalStore) -> Mapping[str, Any]:
    """What a step said of its output; nothing for one that is not there, or none ("")."""
    found = _finished(key, done, store) if key else None
    return found.record.result if found else {}


def _finished(key: str, done: Mapping[str, Object], store: LocalStore) -> Object | None:
    return done.get(key) or (store.get(key) if store.has(key) else None)


def _step_report(action: Action, done: Mapping[str, Object], store: LocalStore) -> dict[str, Any]:
    step = action.step
    object_ = _finished(step.key, done, store)
    record = object_.record if object_ else None
    return {
        "label": step.label,
        "variants": list(step.variants),
        "key": step.key,
        "action": action.do.value,
        "reason": action.reason,
        "milliseconds": record.milliseconds if record and action.do is Do.RUN else 0,
        "bytes": _bytes(step.stage, record.result) if record else 0,
    }


def _bytes(stage: str, result: Mapping[str, Any]) -> int:
    for name in {"bundle": ("bundled_size",), "image": ("used", "size")}.get(stage, ("size",)):
        if isinstance(result.get(name), int):
            return int(result[name])
    return 0


def summary_text(report: Mapping[str, Any]) -> str:
    """For people, on stderr."""
    every = {name for each in report["steps"] for name in each["variants"]}
    rows = [
        (
            each["label"],
            each["action"],
            seconds(each["milliseconds"]) if each["action"] == "run" else "",
            size(each["bytes"]) if each["bytes"] else "",
            variant_words(each["variants"], len(every)),
        )
        for each in report["steps"]
        if each["action"] != "skip"
    ]
    total = sum(each["milliseconds"] for each in report["steps"])
    lines = ["", styled(f"{report['recipe']}: done", "good"), table(rows, indent="  ")]
    if total:
        lines.append(f"  all steps together: {seconds(total)}")
    for image in report["images"]:
        words = ", ".join(filter(None, (image["instance_type"], image["kernel_id"])))
        lines.append(f"{image['image_id']}  {image['name']}  ({words})")
        if image["snapshot_id"]:
            lines.append(f"  snapshot: {image['snapshot_id']}")
        lines += [f"  {region}: {copy}" for region, copy in image["copies"].items()]
        if image["location"]:
            lines.append(f"  bundle manifest: {image['location']}")
    lines.append(f"store: {report['store']}")
    lines += _next_steps(report)
    return "\n".join(lines)


def variant_words(variants: Sequence[str], of: int, *, whole: bool = False) -> str:
    """Whom a step serves, in brackets; empty for all of them. A variant's name begins with the recipe's, which is left
    out, but for `whole` names."""
    if len(variants) == of:
        return ""
    if whole:
        return f"[{', '.join(variants)}]"
    return f"[{', '.join('-'.join(name.rsplit('-', 3)[1:]) for name in variants)}]"


def _next_steps(report: Mapping[str, Any]) -> list[str]:
    if report["images"]:
        image = report["images"][0]["image_id"]
        return [f"next: ami-factory provenance {image}", f"      ami-factory plan {report['recipe']}"]
    return [f"next: ami-factory build {report['recipe']}"]
