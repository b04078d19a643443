#!/usr/bin/env python3
"""Jobs of a Slurm cluster: slurm.py DIR start|poll|cancel|collect|forget, where DIR lies on a file system that its nodes share.

The spec is {"argv": ["program", "arg", …], "env": {"NAME": "value", …}, "sbatch": ["--gres=gpu:1", …]}. What the job writes is its log; its last line, if that is JSON, is its result.
"""
import json, os, shutil, subprocess, sys
base, call = os.path.abspath(sys.argv[1]), sys.argv[2]
ask = json.load(sys.stdin)
path = lambda job, *name: os.path.join(base, job, *name)
has = lambda *name: os.path.exists(path(*name))
queue = lambda: dict(line.split("|", 1) for line in slurm("squeue", "--me", "--noheader", "--format=%j|%T").stdout.split())
# Slurm runs one job of a name at a time (singleton), and the second one of a name finds that it has begun: so an id runs once.
RUN = '#!/bin/sh\nmkdir began || exit 0\n"$@" > log 2>&1\necho $? > code.new; mv code.new code\n'

def slurm(*words, env={}):
    done = subprocess.run(["timeout", "25", *words], capture_output=True, text=True, env={**os.environ, **env})
    is_refusal = words[0] == "sbatch" and any(sign in done.stderr for sign in ("invalid", "Invalid", "Unable to open", "not available"))
    return sys.exit(f"{words[0]}: {done.stderr}") if done.returncode and not is_refusal else done

def start(job, spec):
    argv, env, options = map(spec.get, ("argv", "env", "sbatch"), ([], {}, [])) if isinstance(spec, dict) else ([], {}, [])
    words = [*argv, *env.values(), *options] if (type(argv), type(env), type(options)) == (list, dict, list) else []
    if not argv or set(spec) - {"argv", "env", "sbatch"} or not words or not all(isinstance(word, str) for word in words):
        return {"refused": 'the spec takes {"argv": ["program", …], "env": {"NAME": "value", …}, "sbatch": ["--option", …]}'}
    if has(job, "submitted") or has(job, "began") or job in queue(): return {}  # it has it already
    os.makedirs(path(job), exist_ok=True)
    open(path(job, "run.sh"), "w").write(RUN)
    done = slurm("sbatch", f"--job-name={job}", "--dependency=singleton", f"--chdir={path(job)}", "--output=/dev/null",
                 "--no-requeue", *options, path(job, "run.sh"), *argv, env=env)
    open(path(job, "refused" if done.returncode else "submitted"), "w").close()
    return {"refused": done.stderr.strip()} if done.returncode else {}

def status(job, queued):
    if has(job, "code"):
        code = int(open(path(job, "code")).read())
        return {"status": "failed", "error_type": f"ExitCode.{code}", "message": f"it ended with {code}"} if code else {"status": "succeeded"}
    if job in queued: return {"status": "pending" if queued[job] in ("PENDING", "CONFIGURING") else "running"}
    if has(job, "began") or has(job, "submitted"):
        return {"status": "cancelled"} if has(job, "stop") else {"status": "lost", "message": "it has left the queue without an exit code"}
    return {"status": "absent"}

def poll(jobs):
    queued = queue()  # before the files: whoever has left the queue has written its code
    return {job: status(job, queued) for job in jobs}

def cancel(job):
    if has(job) and not has(job, "code"):
        open(path(job, "stop"), "w").close()
        slurm("scancel", "--me", f"--name={job}")
    return {}

def collect(job):
    log = open(path(job, "log")).read() if has(job, "log") else ""
    try:
        return {"log": log[-1000000:], "result": json.loads(log.strip().splitlines()[-1])}
    except (ValueError, IndexError):
        return {"log": log[-1000000:]}
forget = lambda job: shutil.rmtree(path(job), ignore_errors=True) or {}
json.dump(globals()[call](*ask.values()), sys.stdout)
