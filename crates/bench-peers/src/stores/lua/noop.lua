-- What a call of a script costs by itself.
return { 1, 2, 3, 4, 5, 6, 7 }
