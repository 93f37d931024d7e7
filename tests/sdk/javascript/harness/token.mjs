/** Tokens (JWT, HS256) as a site would make them. */

import { createHmac } from 'node:crypto';

import { TOKEN_SECRET } from './server.mjs';

/** Another key than the site's. */
export const WRONG_SECRET = `whsec_${Buffer.alloc(32, 'x').toString('base64')}`;

/**
 * @param {object} claims `iat` is now where it isn't given; `life`, in seconds, is added to it for `exp`
 * @param {{secret?: string}} [options]
 */
export function token({ life = 3600, ...claims }, { secret = TOKEN_SECRET } = {}) {
  const iat = claims.iat ?? Math.floor(Date.now() / 1000);
  const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const signed = `${part({ alg: 'HS256', kid: 'sdk', typ: 'JWT' })}.${part({ iat, exp: iat + life, ...claims })}`;
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

/** One whose time is over. */
export const expiredToken = (claims) => token({ ...claims, iat: Math.floor(Date.now() / 1000) - 100, life: 50 });
