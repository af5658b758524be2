"""URI -> a function that predicts: describe, make the payload, invoke, adopt the trace."""

from evalpoint.endpoints.endpoint import Answer, Endpoint, chat_endpoints, connect
from evalpoint.endpoints.predicting import EndpointFunction, to_predict_fn

__all__ = ["Answer", "Endpoint", "EndpointFunction", "chat_endpoints", "connect", "to_predict_fn"]
