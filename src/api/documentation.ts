import { Router, static as serveStatic } from 'express';
import helmet from 'helmet';
import swaggerUi from 'swagger-ui-dist';
import { problemDefinitions } from '#platform/errors.ts';

const initializer = `window.onload = () => {
  window.ui = SwaggerUIBundle({ url: '/api-docs/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null, presets: [SwaggerUIBundle.presets.apis] });
};`;

/** The documentation pages: everything they load comes from this server. */
export function documentationRouter(openApi: object): Router {
  const router = Router();
  const description = JSON.stringify(openApi);
  const page = helmet({
    contentSecurityPolicy: {
      directives: {
        defaultSrc: ["'self'"],
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:'],
        upgradeInsecureRequests: null,
      },
    },
    strictTransportSecurity: false,
  });
  router.get('/api-docs/openapi.json', (_request, response) => {
    response.type('json').send(description);
  });
  router.get('/swagger-ui', (_request, response) => response.redirect(308, '/docs/'));
  router.get('/docs/errors', page, (_request, response) => {
    response.type('html').send(errorsPage());
  });
  // The page's own start script would load an example from another host, and its badge asks a public validator.
  router.get('/docs/swagger-initializer.js', page, (_request, response) => {
    response.type('js').send(initializer);
  });
  router.use('/docs', page, serveStatic(swaggerUi.getAbsoluteFSPath(), { index: 'index.html' }));
  return router;
}

function errorsPage(): string {
  const rows = Object.entries(problemDefinitions).map(
    ([code, { status, title }]) =>
      `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${title}</td></tr>`,
  );
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Errors</title>
<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}td,th{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ddd}:target{background:#fff3c4}</style>
<h1>Errors</h1><p>The codes of problem documents and of refused records.</p>
<table><tr><th>Code</th><th>Status</th><th>Meaning</th></tr>${rows.join('')}</table></html>`;
}
