//! The funds system over gRPC: client with outcomes, retries, breaker and bulkhead; and the server side of the same proto.
