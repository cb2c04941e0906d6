"""Which route needs which role: one table for all tests of access.

A route without a line here fails `pages/test_roles.py` and `web/test_access.py` of tests/server.
"""

from __future__ import annotations

# Pages: the name of the function.

OPEN = {
    "glossary",
    "icon",
    "set_theme",
    "setup",
    "setup_page",
    "sign_in",
    "sign_in_by_link",
    "sign_in_link_page",
    "sign_in_page",
    "sign_out",
    "static",
}
ANYBODY_SIGNED_IN = {"account", "change_password", "environment_list", "start"}
NEEDS = {
    "flag_list": "viewer",
    "flag_page": "viewer",
    "flag_live": "viewer",
    "instances": "viewer",
    "instances_live": "viewer",
    "flag_history": "viewer",
    "section_list": "viewer",
    "section_item": "viewer",
    "archive": "viewer",
    "archive_preview": "editor",
    "archive_flags": "editor",
    "unarchive_flag": "editor",
    "try_context": "viewer",
    "compare": "viewer",
    "promote_page": "editor",
    "save_promotion": "editor",
    "history": "viewer",
    "revision": "viewer",
    "document": "viewer",
    "document_text": "viewer",
    "audit": "viewer",
    "export_audit": "viewer",
    "kill_flag": "editor",
    "restore_flag": "editor",
    "undo": "editor",
    "share_page": "editor",
    "save_share": "editor",
    "pause_rollout": "editor",
    "resume_rollout": "editor",
    "new_flag": "editor",
    "edit_flag": "editor",
    "new_item": "editor",
    "edit_item": "editor",
    "remove_item": "editor",
    "draft": "editor",
    "preview_edit": "editor",
    "save_edit": "editor",
    "revert_page": "editor",
    "save_revert": "editor",
    "keys": "admin",
    "create_key": "admin",
    "revoke_key": "admin",
    "create_environment": "owner",
    "change_environment": "owner",
    "check_audit": "owner",
    "people": "owner",
    "invite": "owner",
    "change_person": "owner",
}
"""Page -> the least role; `owner` stands for admin of every environment."""

VALUES = {
    "environment": "production",
    "other": "production",
    "flag": "cta_color",
    "rule": "half",
    "section": "flags",
    "key": "cta_color",
    "kind": "segments",
    "name": "staff",
    "number": "2",
    "email": "viewer-production@example.com",
    "filename": "flagloop.css",
    "part": "state",
    "token": "none",
}
"""Values of the variables in the paths of pages."""

# The admin API: blueprint and name of the function.

API_OPEN = {"openapi.openapi", "openapi.reference"}
API_KNOWN = {
    "instances.instances",
    "places.audit",
    "places.environments",
    "places.export_audit",
    "places.revoke_key",
    "places.whoami",
}
"""For every admin key and every signed-in person; what they see or may touch is their own."""

API_NEEDS = {
    "admin.archive": "editor",
    "admin.diff": "viewer",
    "admin.document": "viewer",
    "admin.kill": "editor",
    "admin.pause": "editor",
    "admin.push": "viewer",
    "admin.restore": "editor",
    "admin.resume": "editor",
    "admin.revert": "editor",
    "admin.revision": "viewer",
    "admin.revisions": "viewer",
    "admin.share": "editor",
    "admin.unarchive": "editor",
    "admin.undo": "editor",
    "flags.archive_flags": "editor",
    "flags.archived": "viewer",
    "flags.flag": "viewer",
    "flags.flags": "viewer",
    "flags.live": "viewer",
    "instances.obeyed": "viewer",
    "items.change": "editor",
    "items.item": "viewer",
    "items.items": "viewer",
    "items.merge": "editor",
    "items.preview": "viewer",
    "items.put_item": "editor",
    "items.remove_item": "editor",
    "items.revert_item": "editor",
    "items.validate": "viewer",
    "places.create_environment": "owner",
    "places.create_key": "admin",
    "places.edit_environment": "owner",
    "places.edit_person": "owner",
    "places.end_sessions": "owner",
    "places.environment": "viewer",
    "places.invite": "owner",
    "places.keys": "admin",
    "places.people": "owner",
    "places.setup_link": "owner",
    "places.verify_audit": "owner",
    "sections.layer": "viewer",
    "sections.promotable": "viewer",
    "sections.section": "viewer",
    "questions.compare_environments": "viewer",
    "questions.compare_one": "viewer",
    "questions.contexts": "editor",
    "questions.decide": "viewer",
    "questions.explain": "viewer",
}
"""Route -> the least role in the environment of its path; push needs editor without `dry_run`."""

API_VALUES = {
    "env": "production",
    "flag": "cta_color",
    "rule": "half",
    "section": "flags",
    "key": "cta_color",
    "revision": "2",
    "key_id": "9999",
    "layer": "main",
    "email": "nobody@example.com",
}
"""Values of the variables in the paths of the API."""

# The edge: its path.

EDGE = {
    "/api/v1/ruleset": {"server"},
    "/api/v1/stream": {"server"},
    "/api/v1/events": {"server", "client"},
    "/healthz": None,
    "/readyz": None,
    "/metrics": None,
}
"""Path -> the kinds of keys that it takes; None: everybody."""
