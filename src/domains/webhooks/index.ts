export { makeAddressJudge, type AddressPolicy } from './sending/address-policy.ts';
export { defaultDelaysSeconds } from './deliveries/retry-schedule.ts';
export { makeSafeAgent } from './sending/safe-agent.ts';
export { makeEndpointDeliveries } from './endpoints/endpoint-deliveries.service.ts';
export { makeEndpointsService } from './endpoints/endpoints.service.ts';
export { makeWebhooksWork, type WebhooksWork } from './webhooks-work.ts';
export { webhookRequestsMax } from './sending/delivery-sender.ts';
export { webhookRoutes } from './endpoints/endpoints.routes.ts';
export { forgetMessages } from './deliveries/deliveries.store.ts';
