"""State machines as diagrams, in the languages of Mermaid and Graphviz."""

from __future__ import annotations

from onex_mesh.reducer.core.analysis import edges
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.transition import Transition

_REFERENCES = {ord(char): f"#{ord(char)};" for char in '#":;<>{}'} | {ord("\n"): " "}


def mermaid(fsm: Fsm) -> str:
    """A Mermaid state diagram."""
    names = {str(state.value): f"s{index}" for index, state in enumerate(fsm.states)}
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{_escaped(name)}" as {alias}' for name, alias in names.items()]
    lines.append(f"    [*] --> {names[fsm.status_of(fsm.initial)]}")
    lines += [f"    {names[name]} : {_escaped(text)}" for name, text in _actions(fsm)]
    for source, target, label in _arrows(fsm):
        lines.append(f"    {names[source]} --> {names[target]} : {_escaped(label)}")
    lines += [f"    {names[name]} --> [*]" for name in names if name in fsm.final]
    return "\n".join(lines) + "\n"


def graphviz(fsm: Fsm) -> str:
    """A Graphviz graph, in the language of `dot`."""
    lines = [f'digraph "{_quoted(fsm.name)}" {{', "    rankdir=LR;", "    node [shape=box, style=rounded];"]
    lines.append("    start [shape=point];")
    actions = _actions(fsm)
    for state in fsm.states:
        name = str(state.value)
        label = "\\n".join(_quoted(text) for text in (name, *(text for owner, text in actions if owner == name)))
        final = ", peripheries=2" if name in fsm.final else ""
        lines.append(f'    "{_quoted(name)}" [label="{label}"{final}];')
    lines.append(f'    start -> "{_quoted(fsm.status_of(fsm.initial))}";')
    for source, target, label in _arrows(fsm):
        lines.append(f'    "{_quoted(source)}" -> "{_quoted(target)}" [label="{_quoted(label)}"];')
    return "\n".join([*lines, "}"]) + "\n"


def _actions(fsm: Fsm) -> list[tuple[str, str]]:
    """State, and what happens when it is entered or left."""
    return [
        (name, f"{when} / {getattr(hooks[name].function, '__name__', when)}")
        for name in (str(state.value) for state in fsm.states)
        for when, hooks in (("entry", fsm.entries), ("exit", fsm.exits))
        if name in hooks
    ]


def _arrows(fsm: Fsm) -> list[tuple[str, str, str]]:
    """Source, target and label; a transition that decides itself where it leads is drawn to where it starts."""
    return [
        (source, target or source, _label(transition) + ("" if target else " → ?"))
        for source, target, transition in edges(fsm)
    ]


def _label(transition: Transition) -> str:
    if transition.guard is None:
        return transition.action
    return f"{transition.action} [{getattr(transition.guard.function, '__name__', 'guard')}]"


def _escaped(text: str) -> str:
    """Text for Mermaid, which takes character references."""
    return text.translate(_REFERENCES)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
