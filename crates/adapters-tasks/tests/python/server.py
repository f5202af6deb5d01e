"""A task system in front of guafen, written from tasks.proto alone.

Usage: server.py PROTO_DIR

Prints the port that it listens on. Reads events from standard input, one a line: user, kind,
quantity and time in milliseconds, separated by spaces; answers each with "ok". A line
"complete TIME" says that nothing before that time can still arrive.
"""

import concurrent.futures
import sys
import tempfile
import threading

import grpc
from grpc_tools import protoc

generated = tempfile.mkdtemp()
failed = protoc.main(
    [
        "protoc",
        "-I" + sys.argv[1],
        "--python_out=" + generated,
        "--grpc_python_out=" + generated,
        "tasks/v1/tasks.proto",
    ]
)
if failed:
    sys.exit("tasks.proto cannot be compiled")
sys.path.insert(0, generated)
from tasks.v1 import tasks_pb2, tasks_pb2_grpc  # noqa: E402

lock = threading.Lock()
assigned = {}
events = []
complete_until = 0


class Tasks(tasks_pb2_grpc.TasksServicer):
    def Assign(self, request, context):
        content = request.SerializeToString(deterministic=True)
        with lock:
            kept = assigned.setdefault(request.signup.signup_id, content)
        if kept != content:
            return tasks_pb2.AssignResponse(conflict=tasks_pb2.Conflict())
        told = tasks_pb2.Assigned(signup_id=request.signup.signup_id)
        return tasks_pb2.AssignResponse(assigned=told)

    def Progress(self, request, context):
        if len(request.signups) > 1000:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "signups: must be at most 1000")
        with lock:
            known, until = list(events), complete_until
        return tasks_pb2.ProgressResponse(
            progress=[self.one(request.task, signup, known, until) for signup in request.signups]
        )

    def one(self, task, signup, known, until):
        counted = sorted(
            (at, quantity)
            for user, kind, quantity, at in known
            if user == signup.user_id
            and kind == task.kind
            and signup.from_unix_ms <= at < task.until_unix_ms
        )
        told = tasks_pb2.Progress(signup_id=signup.signup_id, complete_until_unix_ms=until)
        for at, quantity in counted:
            told.quantity += quantity
            if told.quantity >= task.target and not told.HasField("met_at_unix_ms"):
                told.met_at_unix_ms = at
        return told


server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
tasks_pb2_grpc.add_TasksServicer_to_server(Tasks(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
for line in sys.stdin:
    words = line.split()
    with lock:
        if words[0] == "complete":
            complete_until = int(words[1])
        else:
            events.append((words[0], words[1], int(words[2]), int(words[3])))
    print("ok", flush=True)
server.stop(None)
