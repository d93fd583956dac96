cwlVersion: v1.2
class: ExpressionTool
label: List the variants of the grid
doc: The first N values of each hyper-parameter, in all combinations.

requirements:
  InlineJavascriptRequirement: {}
  SchemaDefRequirement:
    types:
      - $import: variant-type.yml

inputs:
  learning_rates: int
  step_sizes: int
  layers: int
  weight_decays: int
  folds: int

outputs:
  variants: variant-type.yml#Variant[]
  fold_numbers: int[]

expression: |
  ${
    var values = {
      learning_rates: [0.1, 0.01, 0.3, 0.03],
      step_sizes: [10, 5, 20],
      layers: [1, 2, 3],
      weight_decays: [0.0001, 0.1, 1.0]
    };
    function first(name) {
      var n = inputs[name];
      if (n < 1 || n > values[name].length) {
        throw name + " must be 1 to " + values[name].length + ", not " + n;
      }
      return values[name].slice(0, n);
    }
    if (inputs.folds < 2 || inputs.folds > 10) {
      throw "folds must be 2 to 10, not " + inputs.folds;
    }
    var variants = [];
    first("learning_rates").forEach(function (learning_rate) {
      first("step_sizes").forEach(function (step_size) {
        first("layers").forEach(function (layers) {
          first("weight_decays").forEach(function (weight_decay) {
            variants.push({
              name: "v" + ("00" + (variants.length + 1)).slice(-3),
              learning_rate: learning_rate,
              step_size: step_size,
              layers: layers,
              weight_decay: weight_decay
            });
          });
        });
      });
    });
    var fold_numbers = [];
    for (var fold = 0; fold < inputs.folds; fold++) {
      fold_numbers.push(fold);
    }
    return { variants: variants, fold_numbers: fold_numbers };
  }
