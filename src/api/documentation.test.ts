import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { problemDefinitions } from '#platform/errors.ts';
import { readJson, startApplication, type TestApplication } from '../testing/application.ts';

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; required?: boolean; schema: unknown }[];
  requestBody?: { content: Record<string, { schema?: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, unknown> }>;
  security?: Record<string, string[]>[];
}

interface Description {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
}

let application: TestApplication;
let description: Description;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
  description = await readJson<Description>(await fetch(`${application.url}/api-docs/openapi.json`));
});
afterAll(() => application.close());

const operations = () =>
  Object.entries(description.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );

describe('/api-docs/openapi.json', () => {
  test('is OpenAPI 3.1 with every row of the route tables and nothing else', () => {
    expect(description.openapi).toMatch(/^3\.1\.\d+$/);
    expect(Object.keys(description.info)).toEqual(expect.arrayContaining(['title', 'version']));
    expect(
      operations()
        .map(({ method, path }) => `${method} ${path}`)
        .toSorted(),
    ).toEqual(application.routes.map(({ method, path }) => `${method} ${path}`).toSorted());
  });

  test('has one operation id each, and describes every answer', () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operation } of operations()) {
      expect(operation.summary).not.toBe('');
      expect(Object.keys(operation.responses).length).toBeGreaterThan(0);
      for (const [status, response] of Object.entries(operation.responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/);
        expect(response.description).toEqual(expect.any(String));
      }
    }
  });

  test('declares exactly the parameters of each path as required', () => {
    for (const { path, operation } of operations()) {
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(declared.map(({ name, required }) => [name, required])).toEqual(
        [...path.matchAll(/\{(\w+)\}/g)].map((match) => [match[1], true]),
      );
      for (const parameter of operation.parameters ?? []) expect(parameter.schema).toBeDefined();
    }
  });

  test('tells which routes need credentials, and of which kinds', () => {
    const schemes = Object.keys(description.components.securitySchemes);
    for (const { path, method } of application.routes.filter((route) => route.access !== 'public')) {
      const { security, responses } = description.paths[path]![method]!;
      expect(security!.flatMap((requirement) => Object.keys(requirement)).toSorted()).toEqual(schemes.toSorted());
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(['401', '403', '503']));
    }
    for (const { path, method } of application.routes.filter((route) => route.access === 'public'))
      expect(description.paths[path]![method]!.security).toBeUndefined();
  });

  test('refers only to what it holds', () => {
    const references: string[] = [];
    JSON.stringify(description, (key, value: unknown) => {
      if (key === '$ref') references.push(value as string);
      return value;
    });
    expect(references.length).toBeGreaterThan(0);
    for (const reference of references) {
      const found = reference
        .replace(/^#\//, '')
        .split('/')
        .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], description);
      expect([reference, found === undefined]).toEqual([reference, false]);
    }
  });

  test('names the media types that a receipt may have', () => {
    expect(Object.keys(description.paths['/api/receipts']!['post']!.requestBody!.content)).toEqual([
      'application/json',
      'application/x-ndjson',
      'text/csv',
    ]);
  });
});

describe('/docs', () => {
  test('loads everything from this host', async () => {
    const response = await fetch(`${application.url}/docs`);
    expect(response.status).toBe(200);
    expect(response.url).toBe(`${application.url}/docs/`);
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'self'/);
    const page = await response.text();
    const assets = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => new URL(match[1]!, response.url));
    expect(assets.map((url) => url.pathname.split('/').at(-1))).toEqual(
      expect.arrayContaining(['swagger-ui.css', 'swagger-ui-bundle.js', 'swagger-initializer.js']),
    );
    for (const url of assets) {
      expect(url.origin).toBe(application.url);
      const asset = await fetch(url);
      expect([url.pathname, asset.status]).toEqual([url.pathname, 200]);
      await asset.arrayBuffer();
    }
    const initializer = await (await fetch(`${application.url}/docs/swagger-initializer.js`)).text();
    expect(initializer).toContain(`url: '/api-docs/openapi.json'`);
    // Without it the page asks a validator on the internet about every description that is not on localhost.
    expect(initializer).toContain('validatorUrl: null');
    expect(initializer).not.toMatch(/https?:/);
  });

  test('explains every code that a problem document can have, at the address that the document names', async () => {
    const page = await (await fetch(`${application.url}/docs/errors`)).text();
    for (const code of Object.keys(problemDefinitions)) expect(page).toContain(`id="${code}"`);
  });

  test('is also found where the web client looks for it', async () => {
    const response = await fetch(`${application.url}/swagger-ui`, { redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([308, '/docs/']);
  });
});
