"""What a fabric costs: bill of materials and named price books."""
