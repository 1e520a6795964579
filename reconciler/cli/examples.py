"""Examples for every command: `--help` and the reference show them, a test runs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A line to type, and what it is good for."""

    line: str
    says: str


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "init": (Example(line="domops init ./vms", says="begin a repository of manifests in ./vms"),),
    "import": (
        Example(line="domops import dom0-a", says="write manifests for all that is on dom0-a"),
        Example(line="domops import dom0-a lists web", says="for these two"),
        Example(
            line="domops import xen+tls://dom0-b.example.org/system --one-file-per host",
            says="of a host that has no manifest yet, into one file",
        ),
        Example(line="domops import --xl lists.cfg", says="from a file of xl's, on a Xen host"),
    ),
    "validate": (
        Example(line="domops validate", says="check the manifests of this folder"),
        Example(line="domops validate --rev main -o github", says="check a branch, in a CI job"),
    ),
    "plan": (
        Example(line="domops plan", says="what would the commit in force change?"),
        Example(line="domops plan --from .", says="and what would this folder?"),
        Example(line="domops --repo /srv/vms.git plan -o json", says="the same, for a program"),
    ),
    "apply": (
        Example(line="domops apply", says="show the plan, ask, carry it out"),
        Example(line="domops apply --yes", says="without asking, for scripts"),
    ),
    "run": (
        Example(line="domops run", says="keep the hosts as the commits want them"),
        Example(
            line="domops run --config /etc/domops/domops.toml", says="as a service would start it"
        ),
    ),
    "get": (
        Example(line="domops get guests", says="the fleet, a line a guest"),
        Example(line="domops get guests --watch", says="the same, as it changes, until Ctrl-C"),
        Example(line="domops get hosts -o wide", says="the hosts, with all there is"),
        Example(line="domops get pools -o yaml", says="the pools, for a program"),
    ),
    "describe": (Example(line="domops describe guest lists", says="everything about one guest"),),
    "diff": (
        Example(line="domops diff", says="every field that differs, of every guest"),
        Example(line="domops diff lists", says="of one guest"),
        Example(line="domops diff --suggest-ignore", says="how would that drift be ignored?"),
        Example(line="domops diff lists --xml", says="what would be written into its domain XML?"),
    ),
    "events": (
        Example(line="domops events", says="what happened last"),
        Example(line="domops events --follow", says="and what happens from now on"),
        Example(line="domops events lists -n 100", says="the last 100 events of one guest"),
    ),
    "why": (
        Example(line="domops why lists", says="why was this guest changed, and by which commit?"),
        Example(line="domops why lists --since 2d -o json", says="the same, for a program"),
    ),
    "history": (
        Example(line="domops history", says="what was done last, to all guests"),
        Example(line="domops history --commit 8c2f1e4", says="what one commit brought about"),
    ),
    "approve": (
        Example(line="domops approve 5d1c-90ab", says="let the held changes of that plan through"),
    ),
    "rollback": (
        Example(line="domops rollback", says="how do I go back to the commit before?"),
        Example(line="domops rollback 41d07b9a3c", says="and to this one?"),
    ),
    "suspend": (
        Example(
            line="domops suspend lists --reason 'nightly backup' --for 2h --wait",
            says="leave it alone; return when nothing is under way",
        ),
        Example(
            line="domops suspend --pool main --reason 'switch is being replaced'",
            says="a whole pool, until it is resumed",
        ),
    ),
    "resume": (
        Example(line="domops resume lists", says="give it back"),
        Example(line="domops resume --all", says="lift what suspend --all did"),
    ),
    "trash": (
        Example(line="domops trash list -o wide", says="what is in it, and how to have it back"),
        Example(line="domops trash restore lists", says="the manifest of a deleted guest"),
        Example(line="domops trash empty lists --yes", says="have it removed before its time"),
    ),
    "doctor": (
        Example(line="domops doctor", says="is everything there that the guests need?"),
        Example(line="domops doctor dom0-a --all", says="of one host, also what is in order"),
    ),
    "schema": (
        Example(line="domops schema", says="the schema of all kinds, for an editor"),
        Example(line="domops schema ./schemas", says="one file a kind"),
    ),
}


def epilog(command: str) -> str:
    """The examples of ``command`` as the end of its help."""
    lines = [f"{one.line}   # {one.says}" for one in EXAMPLES[command]]
    # Typer joins lines and keeps paragraphs apart, so each example is a paragraph.
    return "\n\n".join(["Examples:", *lines])
