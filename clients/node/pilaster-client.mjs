// Asks Pilaster for a dashboard's query, and the product's own endpoint where Pilaster cannot answer.
//
// One file without dependencies, Node 18 and newer.
//
//   const pilaster = new Pilaster(['http://10.0.0.5:8080', 'http://10.0.0.6:8080'], askTheMonolith, { key: 'plk_…' });
//   const { body, answeredBy } = await pilaster.query('revenue/mrr_by_plan', { from: '2026-01-01' }, { tenant: '7' });
//
// `fallback(query, parameters, tenant)` resolves to the same JSON; it is called when no node answers in time, when one says 5xx or 429, and at
// once, without asking, while the breaker of every node is open. What Pilaster says of the request itself (a parameter that is wrong, a tenant
// that may not see it) is a PilasterError, and is not asked of the fallback: it would be as wrong there.

/** Pilaster refuses the request: `status`, and the problem of RFC 9457 with `code`, `message` and `hint`. */
export class PilasterError extends Error {
  constructor(status, problem) {
    super(`${problem.code ?? status}: ${problem.message ?? ''}`);
    this.name = 'PilasterError';
    this.status = status;
    this.problem = problem;
  }
}

/** Closed while calls succeed; open after `failuresMax` failures in a row, for `openMs`; then one call tries. */
class Breaker {
  #failures = 0;
  #openUntil = 0;

  constructor(failuresMax, openMs, clock) {
    Object.assign(this, { failuresMax, openMs, clock });
  }

  mayCall() {
    if (this.#failures < this.failuresMax) return true;
    const now = this.clock();
    if (now < this.#openUntil) return false;
    // One tries; the others wait for what it finds.
    this.#openUntil = now + this.openMs;
    return true;
  }

  succeeded() {
    this.#failures = 0;
  }

  failed() {
    this.#failures += 1;
    if (this.#failures >= this.failuresMax) this.#openUntil = this.clock() + this.openMs;
  }
}

/** Nodes that are asked in turn, and the fallback. */
export class Pilaster {
  #turn = 0;

  /**
   * @param {string[]} nodes for example `['http://127.0.0.1:8080']`
   * @param {(query: string, parameters: object, tenant?: string) => Promise<unknown>} fallback
   * @param {{key?: string, timeoutMs?: number, failuresMax?: number, openMs?: number, clock?: () => number}} [options]
   */
  constructor(nodes, fallback, options = {}) {
    if (nodes.length === 0) throw new TypeError('give at least one node, for example http://127.0.0.1:8080');
    const { key, timeoutMs = 2000, failuresMax = 3, openMs = 5000, clock = () => performance.now() } = options;
    this.nodes = nodes.map((node) => ({
      url: node.replace(/\/+$/, ''),
      breaker: new Breaker(failuresMax, openMs, clock),
    }));
    Object.assign(this, { fallback, key, timeoutMs });
  }

  /**
   * Answers a named query, `dashboard/name`. Arrays are repeated, as `plans=pro&plans=team`.
   * @returns {Promise<{body: unknown, answeredBy: 'pilaster' | 'fallback'}>}
   */
  async query(query, parameters = {}, { tenant } = {}) {
    const first = this.#turn++;
    for (let step = 0; step < this.nodes.length; step += 1) {
      const { url, breaker } = this.nodes[(first + step) % this.nodes.length];
      if (!breaker.mayCall()) continue;
      const asked = await this.#ask(url, query, parameters, tenant);
      if (asked.isNodesFault) breaker.failed();
      else breaker.succeeded();
      if (asked.error) throw asked.error;
      if ('body' in asked) return { body: asked.body, answeredBy: 'pilaster' };
    }
    return { body: await this.fallback(query, parameters, tenant), answeredBy: 'fallback' };
  }

  async #ask(node, query, parameters, tenant) {
    const url = new URL(`${node}/v1/queries/${query.split('/').map(encodeURIComponent).join('/')}`);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === null || value === undefined) continue;
      for (const item of Array.isArray(value) ? value : [value]) url.searchParams.append(name, String(item));
    }
    const headers = { accept: 'application/json' };
    if (this.key) headers.authorization = `Bearer ${this.key}`;
    if (tenant !== undefined) headers['pilaster-tenant'] = tenant;
    try {
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(this.timeoutMs) });
      if (response.ok) return { body: await response.json() };
      // 429 is this caller's own quota: the node is well.
      if (response.status >= 500 || response.status === 429) return { isNodesFault: response.status !== 429 };
      return { error: new PilasterError(response.status, await response.json().catch(() => ({}))) };
    } catch {
      // No connection, no answer in time, or a body that was cut.
      return { isNodesFault: true };
    }
  }
}
