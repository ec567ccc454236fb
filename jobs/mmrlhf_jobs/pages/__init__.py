"""Pages of HTML that need nothing else: one base page, templates upon it, drawings as SVG."""
