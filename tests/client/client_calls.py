"""Calls of both clients, each as a method, its arguments, and the method of the service that it asks."""

from memsvc_client import Entry

CHANGES = [
    ("create_tenant", ("new",), {}, "CreateTenant"),
    ("update_tenant", ("ada",), {"eta": 0.5}, "UpdateTenant"),
    ("delete_tenant", ("ada",), {}, "DeleteTenant"),
    ("hot_restart", ("ada",), {}, "HotRestart"),
    ("update_entry", ("ada", Entry("new", id="known")), {}, "UpdateEntry"),
    ("delete_entry", ("ada", "known"), {}, "DeleteEntry"),
    ("forget", ("ada", "known"), {}, "Forget"),
    ("feedback", ("ada", "known"), {}, "Feedback"),
    ("restore", ("ada", 1), {}, "RestoreTenant"),
    ("confirm_restore", ("ada",), {}, "ConfirmRestore"),
    ("undo_restore", ("ada",), {}, "UndoRestore"),
]
"""What changes something, but for writes."""

CALLS = [
    *CHANGES,
    ("verify", ("ada",), {}, "VerifyTenant"),
    ("stats", ("ada",), {}, "GetTenant"),
    ("write", ("ada", ["x", "y"]), {}, "Write"),
    ("recall", ("ada", "q"), {}, "Recall"),
    ("get_entry", ("ada", "known"), {}, "GetEntry"),
]
