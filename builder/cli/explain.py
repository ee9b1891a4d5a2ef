"""The verb explain: why a step would run, and what a guest's fstab will be."""

from pathlib import Path
from typing import Annotated, Any

import typer

from builder.catalog.regions import LOCAL
from builder.cli import options as o
from builder.cli import output
from builder.history import History
from builder.plan.changes import changes
from builder.plan.decide import Past, check_stage
from builder.plan.step import Plan, Step


def explain(
    subject: Annotated[
        str, typer.Argument(metavar="RECIPE|fstab", help="A recipe file, or `fstab`.", show_default=False)
    ],
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="Only this stage.", show_default=False)] = "",
    instance_type: o.Types = [],  # noqa: B006
    kernel: Annotated[
        str, typer.Option("--kernel", metavar="NAME", help="With fstab: a file under kernels/.")
    ] = "quickstart",
    region: o.Region = LOCAL,
    store: o.StorePath = None,
    json: o.Json = False,
) -> None:
    """Say what differs from the last build, field by field.

    Or, with `fstab` in place of a recipe: what an instance type's fstab will be, and why.

    \b
    Examples:
      ami-factory explain recipes/quickstart.toml configure
      ami-factory explain fstab --instance-type m1.large --kernel quickstart
    """
    if subject == "fstab":
        _explain_fstab(instance_type or ["m1.small"], kernel, json)
        return
    check_stage(stage, "STAGE")
    factory = o.factory(region=region, store=store)
    plan = factory.plan(factory.prepare(Path(subject)), o.selection(instance_type, [], [], ""))
    history = History(factory.store.root / "history").load(plan.variants)
    entries = [_difference(each, plan, history) for each in plan.steps if stage in ("", each.stage)]
    if json:
        output.document("explain", recipe=subject, steps=entries)
        return
    rows = output.table((each["label"], each["key"][:12], each["state"]) for each in entries).splitlines()
    for row, each in zip(rows, entries, strict=True):
        output.result(row)
        for line in each["changes"]:
            output.result(f"    {line}")


def _difference(step: Step, plan: Plan, history: dict[str, dict[str, Past]]) -> dict[str, Any]:
    pasts = [history[name][step.label] for name in step.variants if step.label in history.get(name, {})]
    told: list[str] = []
    if not pasts:
        state = "never built"
    elif pasts[0].key == step.key:
        state = "as last built"
    else:
        state = f"differs from the last build ({pasts[0].key[:12]})"
        old = dict(pasts[0].inputs)
        told = list(changes(pasts[0].spec, step.spec))
        told += [
            f"input {name}: {old.get(name, 'none')[:12]} to {key[:12]}"
            for name, key in step.inputs
            if old.get(name) != key
        ]
        told += [f"input {name}: gone" for name in old if name not in dict(step.inputs)]
        if pasts[0].version != step.version:
            told.append(f"stage version: {pasts[0].version} to {step.version}")
    return {"label": step.label, "stage": step.stage, "key": step.key, "state": state, "changes": told}


def _explain_fstab(types: list[str], kernel_name: str, json: bool) -> None:
    from builder.catalog.instance_types import instance_type
    from builder.catalog.kernels import load_kernel
    from builder.formats.fstab import Naming, Volume, explain_fstab, fstab
    from builder.prepared import kernels_directory

    kernel = load_kernel(kernels_directory(), kernel_name)
    documents: list[dict[str, Any]] = []
    for name in types:
        kind = instance_type(name)
        disks = kind.disks
        # Where both are offered, pv: what an hvm AMI has there differs in the lines of its volume only.
        hvm = "pv" not in kind.virtualization or "instance-store" not in kind.root_devices
        volume = Volume(root="UUID-OF-THE-ROOT", esp="UUID-OF-THE-ESP") if hvm else None
        naming: Naming = "xvd" if hvm else kernel.pv.disks
        told = explain_fstab(disks, naming=naming, filesystem="ext4", volume=volume)
        documents.append(
            {
                "instance_type": name,
                "kernel": kernel.name,
                "disks": [
                    {
                        "virtual": each.virtual,
                        "device": each.device,
                        "what": each.what,
                        "when_missing": each.when_missing,
                    }
                    for each in told
                ],
                "fstab": fstab(disks, naming=naming, filesystem="ext4", volume=volume),
            }
        )
    if json:
        output.document("explain-fstab", types=documents)
        return
    for document in documents:
        output.result(f"# {document['instance_type']}, kernel {kernel.name}: the guest sees")
        rows = [
            (each["device"] or "-", each["virtual"], each["what"], f"when missing: {each['when_missing']}")
            for each in document["disks"]
        ]
        output.result(output.table(rows, indent="#   "))
        output.result(document["fstab"].rstrip("\n"))
