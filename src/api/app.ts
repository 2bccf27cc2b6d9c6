import compression from 'compression';
import express, { type Express, type NextFunction, type Request, type Response, type Router } from 'express';
import { makeId } from '#platform/ids.ts';
import { Problem } from '#platform/errors.ts';
import type { Logger } from '#platform/logger.ts';
import type { Metrics } from '#platform/metrics.ts';
import type { Route } from '#platform/route.ts';
import { answerProblem, toProblem } from './problem-answer.ts';
import { handleRoute, type RequestFacts, type RouteContext } from './route-handler.ts';

interface AppOptions extends Omit<RouteContext, 'onError'> {
  routes: readonly Route[];
  /** Pages that bring their own middleware. */
  pages: readonly Router[];
  logger: Logger;
  metrics: Metrics;
}

const requestIdPattern = /^[A-Za-z0-9._-]{8,128}$/;

/** The whole HTTP face: request id and log first, then the route tables, the pages, and problems for all the rest. */
export function makeApp({ routes, pages, logger, metrics, ...context }: AppOptions): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.set('query parser', false);
  app.set('case sensitive routing', true);

  app.use((request: Request, response: Response, next: NextFunction) => {
    const facts = observe(request, response, logger, metrics);
    response.locals['facts'] = facts;
    response.setHeader('x-request-id', facts.requestId);
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('cache-control', 'no-store');
    next();
  });

  const compress = compression();
  app.use((request: Request, response: Response, next: NextFunction) =>
    request.method === 'GET' ? compress(request, response, next) : next(),
  );

  const routeContext: RouteContext = {
    ...context,
    onError: (error, requestId) => logger.error({ err: error, request_id: requestId }, 'request failed'),
  };
  for (const [path, sharing] of Map.groupBy(literalsFirst(routes), (route) => route.path))
    mountPath(app, path, sharing, routeContext);
  for (const page of pages) app.use(page);

  app.use((request: Request, response: Response) => {
    answerProblem(response, new Problem('not_found', 'there is nothing at this path'), {
      requestId: factsOf(response).requestId,
      path: request.path,
    });
  });
  // Express takes a function of four parameters for the error handler.
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const problem = isBadUrl(error)
      ? new Problem('malformed_request', 'the path is not valid percent-encoding')
      : toProblem(error);
    if (problem.status >= 500) logger.error({ err: error, request_id: factsOf(response).requestId }, 'request failed');
    answerProblem(response, problem, { requestId: factsOf(response).requestId, path: request.path });
  });
  return app;
}

/** `/api/items/bulk` is not the item `bulk`, whatever the order of the tables. */
function literalsFirst(routes: readonly Route[]): Route[] {
  const rank = ({ path }: Route) => path.replaceAll(/\{\w+(?:\.\.\.)?\}/g, '\uffff');
  return routes.toSorted((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0));
}

function mountPath(app: Express, path: string, routes: readonly Route[], context: RouteContext): void {
  const pattern = path.replaceAll(/\{(\w+)\}/g, ':$1').replaceAll(/\{(\w+)\.\.\.\}/g, '*$1');
  const methods = routes.map((route) => route.method.toUpperCase());
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  for (const route of routes) {
    app[route.method](pattern, (message: Request, response: Response) => {
      const facts = factsOf(response);
      facts.route = path;
      return handleRoute(route, { message, response, parameters: parametersOf(message), facts }, context);
    });
  }
  const takesRawBody = routes.some((route) => route.rawBody);
  app.options(pattern, (_request: Request, response: Response) => {
    factsOf(response).route = path;
    response.setHeader('allow', allow);
    if (takesRawBody) {
      response.setHeader('accept-post', [...new Set(routes.flatMap((route) => route.rawBody ?? []))].join(', '));
      // draft-ietf-httpbis-resumable-upload, 4.1: how much a server takes.
      response.setHeader('upload-limit', `max-size=${context.budget.limits.maxBytes}`);
      response.setHeader('content-type', 'application/json; charset=utf-8');
      response.end(JSON.stringify({ max_body_bytes: context.budget.limits.maxBytes }));
      return;
    }
    response.statusCode = 204;
    response.end();
  });
  app.all(pattern, (request: Request, response: Response) => {
    const problem = new Problem('method_not_allowed', `this path takes ${allow}`, { headers: { allow } });
    answerProblem(response, problem, { requestId: factsOf(response).requestId, path: request.path });
  });
}

/** What stands in the places of a path; express gives several segments as a list. */
function parametersOf({ params }: Request): Record<string, string> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, Array.isArray(value) ? value.join('/') : value]),
  );
}

function factsOf(response: Response): RequestFacts {
  return response.locals['facts'] as RequestFacts;
}

/** Gives a request its id, and leaves one log line and one measurement when it is over. */
function observe(request: Request, response: Response, logger: Logger, metrics: Metrics): RequestFacts {
  const startedAt = performance.now();
  // Pages cut their own prefix off while they work.
  const { path } = request;
  const sent = request.headers['x-request-id'];
  const facts: RequestFacts = {
    requestId: typeof sent === 'string' && requestIdPattern.test(sent) ? sent : makeId(),
    route: 'unknown',
  };
  response.once('close', () => {
    const durationMs = performance.now() - startedAt;
    metrics.requestSeconds.observe(
      { method: request.method, route: facts.route, status: response.headersSent ? response.statusCode : 499 },
      durationMs / 1000,
    );
    logger.info(
      {
        request_id: facts.requestId,
        method: request.method,
        path,
        // 499 as nginx has it: nobody was left to be answered.
        status: response.headersSent ? response.statusCode : 499,
        duration_ms: Math.round(durationMs * 10) / 10,
        workspace_id: facts.workspaceId,
        ...(response.writableFinished ? {} : { is_aborted: true }),
      },
      'request',
    );
  });
  return facts;
}

function isBadUrl(error: unknown): boolean {
  return error instanceof URIError;
}
