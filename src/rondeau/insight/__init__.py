"""What gradients, gates and states do over time: measured while a model trains, and put into words."""

from rondeau.insight.saliency import Saliency, saliency

__all__ = ["Saliency", "saliency"]
