/**
 * What a page's author calls: connect, bind, close.
 *
 * One page has one connection, so these speak of the page that runs them.
 * Importing this file does nothing, and is safe where there is no window.
 */

import { createPage } from './page.js';

/** @typedef {import('./configuration.js').Configuration} Configuration */
/** @typedef {import('./event.js').MetaEvent} MetaEvent */
/** @typedef {import('./page.js').Gap} Gap */
/** @typedef {import('./connection.js').State} State */

/** @type {ReturnType<typeof createPage> | undefined} */
let page;

function thisPage() {
  if (!page) page = createPage(window);
  return page;
}

/**
 * Connects the page to its own host once something on it is bound; without a
 * marker there is no connection. Calling it again changes nothing.
 *
 * @param {Configuration} [configuration] read from the element `#sidewire-config` when left out
 * @returns {boolean} false when the configuration is at fault; the console says how
 */
export function connect(configuration) {
  return thisPage().connect(configuration);
}

/**
 * Makes the marked elements under a root live, those added later included.
 *
 * @param {Document | Element} [root] the whole document when left out
 * @returns {() => void} leaves this root, and the channels that no other root needs
 */
export function bind(root) {
  return thisPage().bind(root);
}

/**
 * Ends the connection and all bindings. The page keeps the text it shows;
 * `connect` and `bind` begin anew.
 */
export function close() {
  thisPage().close();
}
