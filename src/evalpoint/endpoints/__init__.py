"""URI -> a function that predicts: describe, make the payload, invoke, adopt the trace."""

from evalpoint.endpoints.answers import Answer
from evalpoint.endpoints.description import Description, Kind
from evalpoint.endpoints.endpoint import Endpoint
from evalpoint.endpoints.opening import Door, chat_endpoints, connect
from evalpoint.endpoints.predicting import EndpointFunction, to_predict_fn

__all__ = ["Answer", "Description", "Door", "Endpoint", "EndpointFunction", "Kind", "chat_endpoints", "connect", "to_predict_fn"]
