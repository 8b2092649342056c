"""Figures, the HTML report, several runs compared, a run watched, and the same for TensorBoard."""

from rondeau.report.compare import write_comparison
from rondeau.report.html import write_report
from rondeau.report.tensorboard import TensorBoardInsight, write_tensorboard
from rondeau.report.watch import Watch

__all__ = ["TensorBoardInsight", "Watch", "write_comparison", "write_report", "write_tensorboard"]
