/**
 * Programs that the demo and the tests start, and their end.
 *
 * A program started here never outlives this process: it is asked to stop, then
 * made to, at the end, on Ctrl-C and on an uncaught error, always by its own id;
 * and it is told by the kernel when this process is killed. Nothing here knows
 * what the programs are.
 */

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

const running = new Set();
const commands = new Set();
const KEPT_OUTPUT_LINES = 400;

/** A program that is running, its output line by line, and the way to end it. */
export class Process {
  /**
   * @param {string} name what messages call it
   * @param {string} command
   * @param {string[]} args
   * @param {{cwd?: string, env?: NodeJS.ProcessEnv, onLine?: (line: string) => void}} [options]
   */
  constructor(name, command, args, options = {}) {
    this.name = name;
    /** The last lines of stdout and stderr, oldest first. */
    this.lines = [];
    this.waiting = new Set();
    this.onLine = options.onLine;
    // With setpriv the kernel tells the program when this process dies, however it dies.
    const guarded = existsSync('/usr/bin/setpriv');
    this.child = spawn(
      guarded ? '/usr/bin/setpriv' : command,
      guarded ? ['--pdeathsig', 'TERM', '--', command, ...args] : args,
      // A group of its own, so that Ctrl-C reaches us alone and the order of stopping is ours.
      { cwd: options.cwd, env: options.env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    );
    running.add(this);
    for (const stream of [this.child.stdout, this.child.stderr]) this.#readLines(stream);
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error) => this.#end(resolve, `could not be started: ${error.message}`));
      this.child.once('close', (code, signal) => this.#end(resolve, signal ? `ended by ${signal}` : `ended with ${code}`));
    });
  }

  get pid() {
    return this.child.pid;
  }

  get exitCode() {
    return this.child.exitCode;
  }

  /**
   * The first line, written already or yet to come, that fits.
   *
   * @param {RegExp} pattern
   * @param {{within?: number, after?: number}} [options] `after`: lines seen before this many are not looked at
   * @returns {Promise<RegExpMatchArray>}
   */
  line(pattern, { within = 15_000, after = 0 } = {}) {
    const seen = this.lines.slice(Math.max(0, after - this.dropped())).map((line) => line.match(pattern)).find(Boolean);
    if (seen) return Promise.resolve(seen);
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this.waiting.delete(waiter);
        settle(value);
      };
      const waiter = {
        line: (line) => {
          const match = line.match(pattern);
          if (match) done(resolve, match);
        },
        end: (how) => done(reject, new Error(`${this.name} ${how} before it wrote ${pattern}\n${this.tail()}`)),
      };
      const timer = setTimeout(
        () => done(reject, new Error(`${this.name} did not write ${pattern} within ${within} ms\n${this.tail()}`)),
        within,
      );
      if (this.how) return waiter.end(this.how);
      this.waiting.add(waiter);
    });
  }

  /** How many lines were ever written: a mark for `line({after})`. */
  get lineCount() {
    return this.dropped() + this.lines.length;
  }

  dropped() {
    return this.droppedLines ?? 0;
  }

  tail(count = 15) {
    return this.lines.slice(-count).map((line) => `    ${line}`).join('\n');
  }

  signal(name) {
    if (this.how === undefined) this.child.kill(name);
  }

  /** Asks the program to stop and waits; past the deadline it is made to, with all of its group. */
  async stop({ signal = 'SIGTERM', within = 8_000 } = {}) {
    if (this.how !== undefined) return this.how;
    this.child.kill(signal);
    const late = new AbortController();
    const inTime = await Promise.race([
      this.ended.then(() => true),
      pause(within, false, { signal: late.signal }).catch(() => true),
    ]);
    late.abort();
    if (!inTime) this.kill();
    return this.ended;
  }

  /** Ends the program and its group at once. */
  kill() {
    if (this.how !== undefined || this.child.pid === undefined) return;
    try {
      process.kill(-this.child.pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }

  #readLines(stream) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) this.#take(line);
    });
    stream.on('end', () => rest && this.#take(rest));
  }

  #take(line) {
    this.lines.push(line);
    if (this.lines.length > KEPT_OUTPUT_LINES) {
      this.lines.shift();
      this.droppedLines = this.dropped() + 1;
    }
    this.onLine?.(line);
    for (const waiter of [...this.waiting]) waiter.line(line);
  }

  #end(resolve, how) {
    this.how = how;
    running.delete(this);
    for (const waiter of [...this.waiting]) waiter.end(how);
    resolve(how);
  }
}

/** Stops everything that is still running, the last started first. */
export async function stopAll() {
  for (const one of [...running].reverse()) await one.stop();
}

/**
 * Runs a program to its end and gives its stdout.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv, within?: number, input?: string}} [options]
 */
export function run(command, args, { cwd, env, within = 120_000, input } = {}) {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { cwd, env, timeout: within, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        commands.delete(child);
        if (!error) return resolve(stdout);
        const why = error.killed ? `took more than ${within} ms` : `exited with ${error.code ?? error.signal}`;
        const failure = new Error(`${command} ${args.join(' ')} ${why}\n${stderr || stdout}`);
        failure.code = error.code;
        failure.stderr = stderr;
        reject(failure);
      },
    );
    commands.add(child);
    // A program that ends without reading its input is judged by its exit code.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/**
 * Asks again and again until the answer is not falsy, for what has no event to wait for.
 *
 * @template T
 * @param {string} what completes "waited … ms for"
 * @param {() => T | Promise<T>} ask
 * @param {{within?: number, every?: number}} [options]
 * @returns {Promise<T>}
 */
export async function until(what, ask, { within = 15_000, every = 20 } = {}) {
  const deadline = performance.now() + within;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${within} ms for ${what}`);
    await pause(every);
  }
}

process.once('exit', () => {
  for (const one of [...commands, ...running]) one.kill();
});

/** Whether a signal has told us to stop: what ends from then on is no fault. */
export let stopping = false;

let afterStop = (signal) => process.exit(128 + constants.signals[signal]);

/** Says what to do when a signal has stopped everything, instead of ending with the signal's exit code. */
export function onStopped(callback) {
  afterStop = callback;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, async () => {
    stopping = true;
    for (const command of commands) command.kill();
    await stopAll();
    afterStop(signal);
  });
}
