-- What is old goes. The end of deliveries' bodies that nobody has any more is found along this one.
CREATE INDEX effects_by_message ON effects (message) WHERE message IS NOT NULL;
