-- A line of a conversation is found by the message it came with, to go on with that conversation.
CREATE INDEX chat_messages_by_id ON chat_messages (message_id) WHERE message_id IS NOT NULL;
