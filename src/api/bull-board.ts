import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Router, type Express, type NextFunction, type Request, type Response } from 'express';
import helmet from 'helmet';
import type { Authentication } from '#domains/accounts/index.ts';
import { Problem } from '#platform/errors.ts';
import type { QueueBackend } from '#platform/queue/backend.ts';
import type { QueueDefinition } from '#platform/queue/definition.ts';
import { answerProblem } from './problem-answer.ts';

interface BoardOptions {
  backend: QueueBackend;
  queues: readonly QueueDefinition[];
  authentication: Authentication;
  isWritable: boolean;
}

export const boardPath = '/admin/queues';
/** The page asks every few seconds; checking a password costs 19 MiB and many milliseconds. */
const rememberedForMs = 60_000;

/** Bull Board over all queues, for administrators of the installation by HTTP Basic (RFC 7617). */
export function boardRouter({ backend, queues, authentication, isWritable }: BoardOptions): Router {
  const router = Router();
  const remembered = new Map<string, number>();

  const authorize = async (request: Request): Promise<boolean> => {
    const header = request.headers.authorization ?? '';
    const encoded = /^basic +([a-z0-9+/=]+)$/i.exec(header)?.[1];
    if (!encoded) return false;
    const digest = createHash('sha256').update(encoded).digest('hex');
    if ((remembered.get(digest) ?? 0) > Date.now()) return true;
    const [email = '', ...password] = Buffer.from(encoded, 'base64').toString('utf8').split(':');
    if (!(await authentication.isAdministrator(email, password.join(':')))) return false;
    remembered.clear();
    remembered.set(digest, Date.now() + rememberedForMs);
    return true;
  };

  const refuse = (request: Request, response: Response, problem: Problem) =>
    answerProblem(response, problem, {
      requestId: String(response.getHeader('x-request-id') ?? ''),
      path: request.originalUrl,
    });

  router.use(boardPath, async (request: Request, response: Response, next: NextFunction) => {
    if (!(await authorize(request))) {
      const challenge = { 'www-authenticate': 'Basic realm="defarm administration", charset="UTF-8"' };
      refuse(
        request,
        response,
        new Problem('unauthenticated', 'send the e-mail and password of an administrator', { headers: challenge }),
      );
      return;
    }
    // The board has no protection of its own against requests that another site makes with the browser's credentials.
    if (request.method !== 'GET' && isFromAnotherSite(request.headers)) {
      refuse(request, response, new Problem('insufficient_scope', 'changes to queues are taken from this site only'));
      return;
    }
    if (!backend.isReady()) {
      refuse(
        request,
        response,
        new Problem('unavailable', 'the queues cannot be reached at this moment', { headers: { 'retry-after': '5' } }),
      );
      return;
    }
    next();
  });

  router.use(
    boardPath,
    helmet({
      contentSecurityPolicy: {
        directives: {
          scriptSrc: ["'self'", "'unsafe-inline'"],
          styleSrc: ["'self'", "'unsafe-inline'"],
          fontSrc: ["'self'", 'data:'],
          upgradeInsecureRequests: null,
        },
      },
      strictTransportSecurity: false,
    }),
  );

  // Queues are opened when somebody looks, since opening one needs the backend to be there.
  let board: Router | undefined;
  router.use(boardPath, (request: Request, response: Response, next: NextFunction) => {
    board ??= makeBoard();
    board(request, response, next);
  });

  const makeBoard = (): Router => {
    const adapter = new ExpressAdapter();
    adapter.setBasePath(boardPath);
    createBullBoard({
      queues: queues.map(
        ({ name, description }) =>
          new BullMQAdapter(backend.openQueue(name), {
            readOnlyMode: !isWritable,
            allowRetries: isWritable,
            description,
            showWorkers: false,
          } as object),
      ),
      serverAdapter: adapter,
      options: {
        uiConfig: {
          boardTitle: 'DeFarm queues',
          pollingInterval: { forceInterval: 5 },
          hideRedisDetails: true,
        },
      },
    });
    const application = adapter.getRouter() as Express;
    return application.disable('x-powered-by');
  };
  return router;
}

/** By `Sec-Fetch-Site`, or by `Origin` where a browser leaves that out, as over plain HTTP. */
function isFromAnotherSite({ 'sec-fetch-site': site, origin, host }: IncomingHttpHeaders): boolean {
  if (site !== undefined) return site !== 'same-origin';
  return origin !== undefined && URL.parse(origin)?.host !== host;
}
