"""Any sequence of operations leaves documents that read as stored, and a history that is true."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from flagloop.document.yamlfile import parse
from flagloop.errors import ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.changes import Change, Changes
from flagloop_server.store import Actor, Store

FLAGS = st.sampled_from(["cta_color", "new_checkout", "new_ranker"])
SHARES = st.sampled_from(["0%", "12.5%", "100%"])
BACK = st.integers(1, 4)
EDITS = st.sampled_from(["  new_checkout: {}\n", "  # hm\n  new_checkout:\n    tags: [a]\n"])

OPERATIONS: st.SearchStrategy[Callable[[str, int], Change]] = st.one_of(
    FLAGS.map(lambda flag: lambda env, _: change.kill(env, flag)),
    FLAGS.map(lambda flag: lambda env, _: change.restore(env, flag)),
    FLAGS.map(lambda flag: lambda env, _: change.archive_flag(env, flag)),
    FLAGS.map(lambda flag: lambda env, _: change.unarchive_flag(env, flag)),
    SHARES.map(lambda share: lambda env, _: change.set_share(env, "new_checkout", "canary", share)),
    SHARES.map(lambda share: lambda env, _: change.set_share(env, "new_ranker", "climb", share)),
    st.just(lambda env, _: change.pause(env, "new_ranker", "climb")),
    EDITS.map(lambda text: lambda env, _: change.put_item(env, "flags", "new_checkout", text)),
    BACK.map(lambda steps: lambda env, now: change.revert(env, max(1, now - steps))),
    BACK.map(lambda steps: lambda env, now: change.revert(env, max(1, now - steps), state=True)),
    st.tuples(FLAGS, BACK).map(
        lambda pair: (
            lambda env, now: change.revert_item(env, "flags", pair[0], max(1, now - pair[1]))
        )
    ),
    FLAGS.map(lambda flag: lambda env, _: change.promote("production", env, "flags", flag)),
)


@given(st.lists(OPERATIONS, min_size=3, max_size=12))
@settings(max_examples=25)
def test_stored_documents_are_what_their_text_says(
    pushed: Changes,
    store: Store,
    ana: Actor,
    text: str,
    operations: list[Callable[[str, int], Change]],
) -> None:
    """After each step the stored meaning is that of the stored text, in the past as well."""
    env = f"e{len(store.environments())}"  # a fresh one for each example
    store.create_environment(env, ana)
    pushed.apply(change.put_document(env, text), ana, "begin")
    texts = {}
    for operation in operations:
        before = store.document(env)
        killed = {ref for ref, item in before.document.items.items() if "killed" in item.mapping}
        try:
            done = pushed.apply(operation(env, before.revision), ana, "because")
        except (ConflictError, DocumentError, NotFoundError):
            assert store.document(env) == before
            continue
        now = done.document
        assert parse(now.document.raw).mapping == now.document.mapping
        assert parse(now.document.raw).chunks == now.document.chunks
        assert (now.revision == before.revision + 1) == done.applied == (now != before)
        for ref in done.changed:
            assert now.item_revisions.get(ref, now.revision) == now.revision
        if done.action in ("share", "edit", "pause", "promote"):
            still = {ref for ref, item in now.document.items.items() if "killed" in item.mapping}
            assert done.action == "edit" or killed <= still
        texts[now.revision] = now.document.raw
    with Store(store.folder) as again:
        for number, raw in texts.items():
            assert again.document(env, number).document.raw == raw
        assert again.verify().ok
