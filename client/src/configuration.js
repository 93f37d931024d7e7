/**
 * The page's configuration: where, on the page's own host, events come from.
 *
 * Reads and checks. It opens no connection, and a fault is reported, never
 * thrown: a wrong setting must not break the page that carries it.
 */

/** The id of the element that carries the configuration. */
export const ELEMENT_ID = 'sidewire-config';

/**
 * @typedef {object} Configuration
 * @property {string} path Path of the real-time endpoint on the page's own host, such as `/realtime`.
 */

/**
 * Told of each fault: one sentence that names the place, the value and what was expected.
 * @typedef {(fault: string) => void} Report
 */

/**
 * Reads the configuration that the page carries.
 *
 * @param {Document} document
 * @param {Report} report
 * @returns {Configuration | undefined} undefined after a reported fault
 */
export function readConfiguration(document, report) {
  const element = document.getElementById(ELEMENT_ID);
  if (!element) {
    report(
      `no element #${ELEMENT_ID} on this page; print <script type="application/json" id="${ELEMENT_ID}">` +
        '{"path":"/realtime"}</script> before this script, or call connect({ path: "/realtime" })'
    );
    return undefined;
  }
  let value;
  try {
    value = JSON.parse(element.textContent || '');
  } catch (error) {
    report(`#${ELEMENT_ID} is not JSON (${/** @type {Error} */ (error).message}); expected {"path":"/realtime"}`);
    return undefined;
  }
  return checkConfiguration(value, `#${ELEMENT_ID}`, report);
}

/**
 * Checks a configuration. Keys it does not know are left alone, since a page
 * may carry settings for a newer client.
 *
 * @param {unknown} value
 * @param {string} source what to call its origin in a fault
 * @param {Report} report
 * @returns {Configuration | undefined} undefined after a reported fault
 */
export function checkConfiguration(value, source, report) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    report(`${source} is ${JSON.stringify(value)}; expected an object such as {"path":"/realtime"}`);
    return undefined;
  }
  const path = /** @type {Record<string, unknown>} */ (value).path;
  if (typeof path !== 'string' || !/^\/[^\s?#\\]*$/.test(path) || path.startsWith('//')) {
    report(
      `${source}: path = ${JSON.stringify(path)}; expected a path on this host that starts with one slash, ` +
        'without query or fragment, such as "/realtime"'
    );
    return undefined;
  }
  return { path };
}

/**
 * The WebSocket address for a page: its own host, and TLS if it has TLS.
 *
 * @param {Configuration} configuration
 * @param {{ protocol: string, host: string }} location
 * @param {Report} report
 * @returns {string | undefined} undefined after a reported fault
 */
export function socketAddress(configuration, location, report) {
  const scheme = location.protocol === 'https:' ? 'wss:' : location.protocol === 'http:' ? 'ws:' : '';
  if (!scheme) {
    report(`this page's address starts with "${location.protocol}"; expected https: or http:, so open it from its server`);
    return undefined;
  }
  return `${scheme}//${location.host}${configuration.path}`;
}
