"""What a person sees: documents as rich renderables, and progress bars. The only home of rich; imports documents."""
