# The image runs one process: the web process by default, `node workers/main.ts` for a worker.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Optional packages are the embedded Postgres and a Node of its own: the image has Node, and Postgres runs elsewhere.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM node:24-bookworm-slim
# As in the Procfile: without a limit, a young generation grows to a third of the memory that a process needs.
ENV NODE_ENV=production NODE_OPTIONS=--max-semi-space-size=8
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json knexfile.ts ./
COPY bin ./bin
COPY src ./src
COPY workers ./workers
COPY migrations ./migrations
USER node
EXPOSE 3000
CMD ["node", "src/server.ts"]
