// What a customer's program looks like: wafleet.ts is generated from a node's /openapi.json, and nothing of it is written by hand.
import assert from "node:assert/strict";
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./wafleet.js";

type Message = components["schemas"]["Message"];
type Frame = components["schemas"]["Frame"];

const { WAFLEET_URL: url = "", WAFLEET_API_KEY: key = "", CHAT: chatId = "" } = process.env;
const api: Client<paths> = createClient<paths>({ baseUrl: url, headers: { "X-API-Key": key } });

async function status(): Promise<void> {
  const { data, error } = await api.GET("/api/status");
  assert.equal(error, undefined);
  assert.equal(data?.ready, true);
}

async function chats(): Promise<void> {
  const { data } = await api.GET("/api/chats", { params: { query: { type: "direct" } } });
  const chat = data?.chats.find((c) => c.id === chatId);
  assert.equal(chat?.type, "direct");
  assert.ok(chat.lastMessage);
}

// seen reads the journal until an event fits. Frame is a union that its type tells apart.
async function seen(after: number, fits: (frame: Frame) => boolean): Promise<void> {
  for (;;) {
    const { data } = await api.GET("/api/events", { params: { query: { after, wait: 20 } } });
    assert.ok(data && data.events.length > 0, "nothing happens");
    if (data.events.some((event) => fits(event as Frame))) return;
    after = data.next;
  }
}

async function text(): Promise<void> {
  const { data: journal } = await api.GET("/api/events", { params: { query: { limit: 1 } } });
  assert.ok(journal);
  const path = { chatId };
  const header = { "Idempotency-Key": crypto.randomUUID() };
  const once = { params: { path, header }, body: { message: "Hello from TypeScript" } };
  const sent = await api.POST("/api/chats/{chatId}/messages", once);
  assert.equal(sent.response.status, 201);
  const message: Message | undefined = sent.data;
  assert.ok(message);
  assert.equal(message.text, "Hello from TypeScript");
  assert.equal(message.status, "sent");
  const again = await api.POST("/api/chats/{chatId}/messages", once);
  assert.equal(again.data?.id, message.id);
  await seen(journal.latest, (f) => f.type === "message.sent" && f.data.id === message.id);

  const one = { params: { path: { chatId, messageId: message.id } } };
  const edited = await api.PATCH("/api/chats/{chatId}/messages/{messageId}", { ...one, body: { message: "Hello again" } });
  assert.equal(edited.data?.text, "Hello again");
  assert.ok(edited.data.editedAt);
  const deleted = await api.DELETE("/api/chats/{chatId}/messages/{messageId}", one);
  assert.equal(deleted.response.status, 204);
  await seen(journal.latest, (f) => f.type === "message.deleted" && f.data.id === message.id && f.data.deletedAt !== undefined);
}

async function problems(): Promise<void> {
  const path = { chatId };
  const empty = await api.POST("/api/chats/{chatId}/messages", { params: { path }, body: { message: "" } });
  assert.equal(empty.response.status, 422);
  assert.equal(empty.error?.error, "Validation error");
  assert.equal(empty.error.code, "VALIDATION_ERROR");
  assert.equal(empty.error.errors?.[0]?.location, "body.message");

  const nobody = await api.GET("/api/chats/{chatId}", { params: { path: { chatId: "5511000000001@c.us" } } });
  assert.equal(nobody.response.status, 404);
  assert.equal(nobody.error?.error, "Chat not found");

  const stranger = await api.GET("/api/chats", { headers: { "X-API-Key": "nobody's" } });
  assert.equal(stranger.response.status, 403);
  assert.equal(stranger.error?.error, "Invalid API key");
}

async function file(): Promise<void> {
  const content = new TextEncoder().encode("a bill ".repeat(1000));
  const sent = await api.POST("/api/chats/{chatId}/messages", {
    params: { path: { chatId } },
    body: { file: "", caption: "the bill" }, // the types know a file as text; bodySerializer makes the form
    bodySerializer: () => {
      const form = new FormData();
      form.set("caption", "the bill");
      form.set("file", new Blob([content], { type: "application/pdf" }), "bill.pdf");
      return form;
    },
  });
  assert.equal(sent.response.status, 201, JSON.stringify(sent.error));
  assert.ok(sent.data?.media);
  assert.equal(sent.data.type, "document");
  assert.equal(sent.data.media.size, content.length);
  const got = await api.GET("/api/chats/{chatId}/messages/{messageId}/media", {
    params: { path: { chatId, messageId: sent.data.id } },
    parseAs: "arrayBuffer",
  });
  assert.equal(got.response.status, 200);
  assert.deepEqual(new Uint8Array(got.data as ArrayBuffer), content);
}

for (const step of [status, chats, text, problems, file]) {
  await step();
}
console.log("done");
