/**
 * Events as they arrive: what is accepted as one, the text it shows, and which
 * of two is newer.
 *
 * Pure data: this file knows neither the page nor the connection.
 */

/** @import { Report } from './configuration.js' */

const TYPE = 'post_meta_update';
const OPERATIONS = ['added', 'updated', 'deleted'];

/**
 * One change of one post's meta value. Listeners receive it frozen.
 *
 * @typedef {object} MetaEvent
 * @property {'post_meta_update'} type
 * @property {'added' | 'updated' | 'deleted'} op
 * @property {number} post_id
 * @property {string} meta_key
 * @property {unknown} [meta_value] The first value; `""` once deleted; absent when `fetch` is true.
 * @property {unknown[]} [values] Every value of the key.
 * @property {number} rev Grows with every change of the site; a larger one is newer.
 * @property {string} [timestamp] Site time, `YYYY-MM-DD hh:mm:ss`.
 * @property {string} [id]
 * @property {boolean} [fetch] True when the value is too large to travel and has to be asked for.
 */

/**
 * Takes a publication's data for an event, if it is a well-formed one.
 *
 * @param {unknown} data
 * @param {Report} report told when the data claims to be such an event and is malformed
 * @returns {MetaEvent | undefined}
 */
export function readEvent(data, report) {
  if (typeof data !== 'object' || data === null) return undefined;
  const fields = /** @type {Record<string, unknown>} */ (data);
  // Other types are for other listeners, so they are no fault.
  if (fields.type !== TYPE) return undefined;
  const wrong = faultyField(fields);
  if (wrong) {
    report(`an event of type ${TYPE} has ${wrong[0]} = ${describe(fields[wrong[0]])}; expected ${wrong[1]}; it was ignored`);
    return undefined;
  }
  return /** @type {MetaEvent} */ (/** @type {unknown} */ (Object.freeze(fields)));
}

/**
 * @param {Record<string, unknown>} fields
 * @returns {[name: string, expected: string] | undefined}
 */
function faultyField(fields) {
  const { op, post_id, meta_key, rev } = fields;
  if (typeof op !== 'string' || !OPERATIONS.includes(op)) return ['op', OPERATIONS.join(', ')];
  if (!isWhole(post_id) || post_id === 0) return ['post_id', 'a positive whole number'];
  if (typeof meta_key !== 'string' || meta_key === '') return ['meta_key', 'a name'];
  if (!isWhole(rev)) return ['rev', 'a whole number'];
  if (op !== 'deleted' && fields.meta_value === undefined && fields.fetch !== true) return ['meta_value', 'a value'];
  return undefined;
}

/** @param {unknown} value */
function isWhole(value) {
  return Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;
}

/**
 * A value in short: its size and depth are the sender's to choose.
 *
 * @param {unknown} value
 */
function describe(value) {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/**
 * The text that an event shows.
 *
 * @param {MetaEvent} event
 * @returns {string | undefined} undefined when the event does not carry its value
 */
export function textOf(event) {
  if (event.op === 'deleted') return '';
  return event.meta_value === undefined ? undefined : textOfValue(event.meta_value);
}

/**
 * A list of scalars is joined; of anything deeper, the first scalar speaks.
 *
 * @param {unknown} value
 * @returns {string}
 */
function textOfValue(value) {
  // A loop, since the depth of a value is the sender's to choose.
  while (typeof value === 'object' && value !== null) {
    const items = Object.values(value);
    if (items.every((item) => typeof item !== 'object' || item === null)) return items.map(textOfScalar).join(', ');
    value = items[0];
  }
  return textOfScalar(value);
}

/**
 * Booleans and null as PHP prints them, so that live text equals printed text.
 *
 * @param {unknown} value
 * @returns {string}
 */
function textOfScalar(value) {
  if (value === true) return '1';
  return value === false || value === null || value === undefined ? '' : String(value);
}

/**
 * Remembers the newest event of each key, and turns older ones away.
 */
export function newestEvents() {
  /** @type {Map<string, number>} */
  const revisions = new Map();
  /** @type {Map<string, MetaEvent>} */
  const events = new Map();
  return {
    /**
     * @param {string} key
     * @param {MetaEvent} event
     * @returns {boolean} false when an event as new was accepted before
     */
    accept(key, event) {
      const revision = revisions.get(key);
      if (revision !== undefined && revision >= event.rev) return false;
      revisions.set(key, event.rev);
      events.set(key, event);
      return true;
    },

    /**
     * @param {string} key
     * @returns {MetaEvent | undefined}
     */
    of(key) {
      return events.get(key);
    },

    /**
     * Forgets the values of a post, not their revisions: after a gap a value
     * may be out of date, yet what is older than it still is.
     *
     * @param {string} post
     */
    forget(post) {
      for (const key of events.keys()) {
        if (key.startsWith(`${post}:`)) events.delete(key);
      }
    },
  };
}
