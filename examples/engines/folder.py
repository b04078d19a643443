#!/usr/bin/env python3
"""An engine in its simplest form: folder.py DIR start|poll|cancel|collect|forget. Jobs are processes of this machine, each with a folder in DIR.

The spec is {"argv": ["program", "arg", …], "env": {"NAME": "value", …}}. What the job writes is its log; its last line, if that is JSON, is its result.
"""
import json, os, shutil, signal, subprocess, sys, time
base, call = os.path.abspath(sys.argv[1]), sys.argv[2]
ask = json.load(sys.stdin)
path = lambda job, *name: os.path.join(base, job, *name)
read = lambda *name: open(path(*name)).read()
has = lambda *name: os.path.exists(path(*name))
# The exit code is the last thing that a job writes.
RUN = 'echo $$ > pid.new; mv pid.new pid; "$@" > log 2>&1; echo $? > code.new; mv code.new code'

def start(job, spec):
    argv, env = (spec.get("argv"), spec.get("env", {})) if isinstance(spec, dict) else (None, {})
    words = [*argv, *env.values()] if isinstance(argv, list) and isinstance(env, dict) else []
    if not argv or set(spec) - {"argv", "env"} or not words or not all(isinstance(word, str) for word in words):
        return {"refused": 'the spec takes {"argv": ["program", …], "env": {"NAME": "value", …}}'}
    try:
        os.makedirs(path(job))  # by whoever comes first, so that an id runs once
    except FileExistsError:
        return {}  # it has it already
    out = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    subprocess.Popen(["sh", "-c", RUN, "sh", *argv], cwd=path(job), env={**os.environ, **env}, start_new_session=True, **out)
    return {}

def pid(job):  # its process, if that is alive and not another one of its number
    number = read(job, "pid").strip() if has(job, "pid") else "none"
    is_its = os.path.exists(f"/proc/{number}/cwd") and os.path.samefile(f"/proc/{number}/cwd", path(job))
    return int(number) if is_its else None

def status(job):
    if not has(job):
        return {"status": "absent"}
    is_young = not has(job, "pid") and time.time() - os.stat(path(job)).st_mtime < 10
    if has(job, "code"):
        code = int(read(job, "code"))
        failed = {"status": "failed", "error_type": f"ExitCode.{code}", "message": f"it ended with {code}"}
        return failed if code else {"status": "succeeded"}
    if is_young or pid(job): return {"status": "running"}
    return {"status": "cancelled"} if has(job, "stop") else {"status": "lost", "message": "its process is gone"}

def cancel(job):
    if pid(job):
        open(path(job, "stop"), "w").close()
        os.killpg(pid(job), signal.SIGKILL)
    return {}

def collect(job):
    log = read(job, "log") if has(job, "log") else ""
    try:
        return {"log": log[-1000000:], "result": json.loads(log.strip().splitlines()[-1])}
    except (ValueError, IndexError):
        return {"log": log[-1000000:]}
forget = lambda job: shutil.rmtree(path(job), ignore_errors=True) or {}
poll = lambda jobs: {job: status(job) for job in jobs}
json.dump(globals()[call](*ask.values()), sys.stdout)
